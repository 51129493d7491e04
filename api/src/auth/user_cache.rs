//! Caches whether the user of a token exists, because every request asks for it. Missing users are cached too.

use std::{future::Future, sync::Arc, time::Duration};

use errand_shared::storage::Pool;
use errand_shared::{Uuid, storage::users};
use moka::future::Cache;

use super::tokens::Subject;
use crate::http::error::ApiError;

/// How long an entry is used.
const TTL: Duration = Duration::from_secs(10);
/// The maximum number of entries.
const CAPACITY: u64 = 100_000;
/// The default of the setting `DATABASE_REQUEST_TIMEOUT_MS`.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(4500);

/// A cache of users.
pub(super) struct UserCache {
    pool: Pool,
    issuer: String,
    timeout: Duration,
    own: Cache<Uuid, bool>,
    external: Cache<String, Uuid>,
}

impl UserCache {
    pub(super) fn new(pool: Pool, issuer: &str) -> Self {
        Self {
            pool,
            issuer: issuer.to_owned(),
            timeout: DEFAULT_TIMEOUT,
            own: Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build(),
            external: Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build(),
        }
    }

    pub(super) const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The user of a token. The futures of the cache are boxed: every handler starts with this call, and its own future would
    /// keep their size while it waits for a run.
    pub(super) async fn find(&self, subject: Subject) -> Result<Uuid, ApiError> {
        match subject {
            Subject::Own(user_id) => self.find_own(user_id).await,
            Subject::External { subject, name } => self.find_external(subject, &name).await,
        }
    }

    async fn find_own(&self, user_id: Uuid) -> Result<Uuid, ApiError> {
        let lookup = self.with_timeout(async { Ok(users::find(&self.pool, user_id).await?.is_some()) });
        match Box::pin(self.own.try_get_with(user_id, lookup)).await {
            Ok(true) => Ok(user_id),
            Ok(false) => Err(ApiError::Unauthorized("The token's user no longer exists.")),
            Err(error) => Err(into_owned(error)),
        }
    }

    async fn find_external(&self, subject: String, name: &str) -> Result<Uuid, ApiError> {
        let lookup = self.with_timeout(async {
            if let Some(user) = users::find_external(&self.pool, &self.issuer, &subject).await? {
                return Ok(user.id);
            }
            let new_id = Uuid::now_v7();
            let user =
                users::find_or_create_external(&self.pool, new_id, &self.issuer, &subject, name).await?;
            Ok(user.id)
        });
        Box::pin(self.external.try_get_with(subject.clone(), lookup))
            .await
            .map_err(into_owned)
    }

    async fn with_timeout<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => Ok(done?),
            Err(_elapsed) => Err(ApiError::DatabaseUnavailable {
                run_id: None,
                source: None,
            }),
        }
    }
}

/// Turns an error that was shared by concurrent lookups into an owned one.
fn into_owned(error: Arc<ApiError>) -> ApiError {
    Arc::try_unwrap(error).unwrap_or_else(|shared| match &*shared {
        ApiError::Internal(source) => ApiError::Internal(source.to_string().into()),
        _ => ApiError::DatabaseUnavailable {
            run_id: None,
            source: None,
        },
    })
}

#[cfg(test)]
mod tests {

    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

    use super::*;

    #[sqlx::test(migrations = "../migrations")]
    async fn a_user_is_cached(_: PgPoolOptions, options: PgConnectOptions) {
        let pool = Pool::new(options, 4, Duration::from_secs(2)).unwrap();
        let cache = UserCache::new(pool.clone(), "errand");
        let id = Uuid::now_v7();
        users::create(&pool, id, "ann@example.com", "Ann", "hash", "user")
            .await
            .unwrap();
        assert_eq!(cache.find(Subject::Own(id)).await.unwrap(), id);
        let unknown = cache.find(Subject::Own(Uuid::now_v7())).await;
        assert!(matches!(unknown, Err(ApiError::Unauthorized(_))));
        // The cached user is found without Postgres.
        pool.close();
        assert_eq!(cache.find(Subject::Own(id)).await.unwrap(), id);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn lookup_without_postgres_is_not_unauthorized(_: PgPoolOptions, options: PgConnectOptions) {
        let pool = Pool::new(options, 4, Duration::from_secs(2)).unwrap();
        pool.close();
        let cache = UserCache::new(pool, "errand");
        let id = Uuid::now_v7();
        let (first, second) = tokio::join!(cache.find(Subject::Own(id)), cache.find(Subject::Own(id)));
        for answer in [first, second] {
            assert!(matches!(answer, Err(ApiError::DatabaseUnavailable { .. })));
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_external_user_is_created_once(_: PgPoolOptions, options: PgConnectOptions) {
        let pool = Pool::new(options, 4, Duration::from_secs(2)).unwrap();
        let subject = |name: &str| Subject::External {
            subject: "42".to_owned(),
            name: name.to_owned(),
        };
        let first = UserCache::new(pool.clone(), "https://id.example")
            .find(subject("Ann"))
            .await
            .unwrap();
        let again = UserCache::new(pool.clone(), "https://id.example")
            .find(subject("Anna"))
            .await
            .unwrap();
        let elsewhere = UserCache::new(pool.clone(), "https://other.example")
            .find(subject("Ann"))
            .await
            .unwrap();
        assert_eq!(first, again);
        assert_ne!(first, elsewhere);
        assert_eq!(users::find(&pool, first).await.unwrap().unwrap().name, "Ann");
    }
}
