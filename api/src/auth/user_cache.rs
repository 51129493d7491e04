//! Whether a token's user exists: asked on every request, so remembered for a moment, yes and no alike.

use std::{future::Future, sync::Arc, time::Duration};

use errand_shared::storage::Pool;
use errand_shared::{Uuid, storage::users};
use moka::future::Cache;

use super::tokens::Subject;
use crate::http::error::ApiError;

/// How long an answer counts.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Answers kept, at most.
const CAPACITY: u64 = 100_000;
/// As the setting `DATABASE_REQUEST_TIMEOUT_MS` has it if it is not set.
const TIMEOUT: Duration = Duration::from_millis(4500);

/// The users that were asked for.
pub(super) struct UserCache {
    pool: Pool,
    issuer: String,
    timeout: Duration,
    own: Cache<Uuid, bool>,
    outside: Cache<String, Uuid>,
}

impl UserCache {
    pub(super) fn new(pool: Pool, issuer: &str) -> Self {
        Self {
            pool,
            issuer: issuer.to_owned(),
            timeout: TIMEOUT,
            own: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(REMEMBERED)
                .build(),
            outside: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(REMEMBERED)
                .build(),
        }
    }

    pub(super) const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// The user of a token. What the cache's futures need room for is let go with them: every handler begins with this, and its
    /// future is as large as the largest of what it may come to wait for.
    pub(super) async fn find(&self, subject: Subject) -> Result<Uuid, ApiError> {
        match subject {
            Subject::Own(user_id) => self.find_own(user_id).await,
            Subject::Outside { subject, name } => self.find_outside(subject, &name).await,
        }
    }

    async fn find_own(&self, user_id: Uuid) -> Result<Uuid, ApiError> {
        let look_up = self.bounded(async { Ok(users::find(&self.pool, user_id).await?.is_some()) });
        match Box::pin(self.own.try_get_with(user_id, look_up)).await {
            Ok(true) => Ok(user_id),
            Ok(false) => Err(ApiError::Unauthorized("The token's user no longer exists.")),
            Err(error) => Err(unshared(error)),
        }
    }

    async fn find_outside(&self, subject: String, name: &str) -> Result<Uuid, ApiError> {
        let look_up = self.bounded(async {
            if let Some(user) = users::find_external(&self.pool, &self.issuer, &subject).await? {
                return Ok(user.id);
            }
            let new_id = Uuid::now_v7();
            let user =
                users::find_or_create_external(&self.pool, new_id, &self.issuer, &subject, name).await?;
            Ok(user.id)
        });
        Box::pin(self.outside.try_get_with(subject.clone(), look_up))
            .await
            .map_err(unshared)
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ApiError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => Ok(done?),
            Err(_elapsed) => Err(ApiError::DatabaseAway {
                run_id: None,
                source: None,
            }),
        }
    }
}

/// An error of one's own from one that all who asked at the same time got.
fn unshared(error: Arc<ApiError>) -> ApiError {
    Arc::try_unwrap(error).unwrap_or_else(|shared| match &*shared {
        ApiError::Internal(source) => ApiError::Internal(source.to_string().into()),
        _ => ApiError::DatabaseAway {
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
    async fn a_user_is_known_for_a_moment_and_a_stranger_is_not(_: PgPoolOptions, options: PgConnectOptions) {
        let pool = Pool::new(options, 4, Duration::from_secs(2)).unwrap();
        let known = UserCache::new(pool.clone(), "errand");
        let id = Uuid::now_v7();
        users::create(&pool, id, "ann@example.com", "Ann", "hash", "user")
            .await
            .unwrap();
        assert_eq!(known.find(Subject::Own(id)).await.unwrap(), id);
        let stranger = known.find(Subject::Own(Uuid::now_v7())).await;
        assert!(matches!(stranger, Err(ApiError::Unauthorized(_))));
        // While it is remembered, Postgres is not asked.
        pool.close();
        assert_eq!(known.find(Subject::Own(id)).await.unwrap(), id);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn with_postgres_away_nobody_is_called_a_stranger(_: PgPoolOptions, options: PgConnectOptions) {
        let pool = Pool::new(options, 4, Duration::from_secs(2)).unwrap();
        pool.close();
        let known = UserCache::new(pool, "errand");
        let id = Uuid::now_v7();
        let (first, second) = tokio::join!(known.find(Subject::Own(id)), known.find(Subject::Own(id)));
        for answer in [first, second] {
            assert!(matches!(answer, Err(ApiError::DatabaseAway { .. })));
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_outside_user_is_made_once(_: PgPoolOptions, options: PgConnectOptions) {
        let pool = Pool::new(options, 4, Duration::from_secs(2)).unwrap();
        let ann = |name: &str| Subject::Outside {
            subject: "42".to_owned(),
            name: name.to_owned(),
        };
        let first = UserCache::new(pool.clone(), "https://id.example")
            .find(ann("Ann"))
            .await
            .unwrap();
        let again = UserCache::new(pool.clone(), "https://id.example")
            .find(ann("Anna"))
            .await
            .unwrap();
        let elsewhere = UserCache::new(pool.clone(), "https://other.example")
            .find(ann("Ann"))
            .await
            .unwrap();
        assert_eq!(first, again);
        assert_ne!(first, elsewhere);
        assert_eq!(users::find(&pool, first).await.unwrap().unwrap().name, "Ann");
    }
}
