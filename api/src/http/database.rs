//! Postgres for requests: one deadline for all queries of a request, and values cached for seconds.

use std::{future::Future, ops::RangeInclusive, time::Duration};

use errand_shared::storage::Pool;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard},
    time::Instant,
};

use crate::http::error::ApiError;

/// A cached value lives this many times as long as it took to read, so that reading it never becomes a load of its own.
const LIFETIME_PER_READ: u32 = 20;

/// The connection pool and the time limit of a request. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// The connections.
    pub(crate) pool: Pool,
    timeout: Duration,
}

impl Database {
    /// Every request may spend at most `timeout` on its queries.
    pub(crate) const fn new(pool: Pool, timeout: Duration) -> Self {
        Self { pool, timeout }
    }

    /// The time at which a request that starts now is answered with 503 if Postgres has not responded.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Runs the only database work of a request.
    ///
    /// # Errors
    /// The error of `work`, or [`ApiError::DatabaseUnavailable`] if it took too long.
    pub(crate) fn run<'a, T: Send + 'a>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, ApiError>> {
        run_until(self.deadline(), work)
    }
}

/// Runs one of several pieces of database work of a request.
///
/// The future is boxed because futures of statements are large, and a request that waits for its run must not carry them.
///
/// # Errors
/// The error of `work`, or [`ApiError::DatabaseUnavailable`] if it is not done by `deadline`.
pub(crate) fn run_until<'a, T: Send + 'a>(
    deadline: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
) -> BoxFuture<'a, Result<T, ApiError>> {
    async move {
        match tokio::time::timeout_at(deadline, work).await {
            Ok(done) => Ok(done?),
            Err(_elapsed) => Err(ApiError::DatabaseUnavailable {
                run_id: None,
                source: None,
            }),
        }
    }
    .boxed()
}

/// A value that is read at most once in its lifetime, however many callers ask for it.
#[derive(Debug)]
pub(crate) struct Cached<T> {
    lifetime: RangeInclusive<Duration>,
    last: Mutex<Option<T>>,
    /// When the last value expires. The caller that reads a new value holds this lock.
    expires: AsyncMutex<Option<Instant>>,
}

impl<T: Clone> Cached<T> {
    /// Values live 20 times as long as they took to read, within these bounds.
    pub(crate) fn new(lifetime: RangeInclusive<Duration>) -> Self {
        Self {
            lifetime,
            last: Mutex::new(None),
            expires: AsyncMutex::new(None),
        }
    }

    /// The last value that was read, even if it has expired.
    pub(crate) fn last(&self) -> Option<T> {
        self.last.lock().clone()
    }

    /// A current value. Callers wait while one of them reads it.
    ///
    /// # Errors
    /// The error of `read`, which is not cached.
    pub(crate) async fn get<E>(&self, read: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let expires = self.expires.lock().await;
        self.read_if_expired(expires, read).await
    }

    /// A current value or, while another caller reads it, the last one. None if no value was read yet.
    ///
    /// # Errors
    /// The error of `read`, which is not cached.
    pub(crate) async fn get_or_last<E>(
        &self,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, E> {
        match self.expires.try_lock() {
            Ok(expires) => self.read_if_expired(expires, read).await.map(Some),
            Err(_being_read) => Ok(self.last()),
        }
    }

    async fn read_if_expired<E>(
        &self,
        mut expires: AsyncMutexGuard<'_, Option<Instant>>,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = Instant::now();
        if expires.is_some_and(|expires| started < expires)
            && let Some(last) = self.last()
        {
            return Ok(last);
        }
        let value = read.await?;
        *self.last.lock() = Some(value.clone());
        let now = Instant::now();
        let lifetime =
            ((now - started) * LIFETIME_PER_READ).clamp(*self.lifetime.start(), *self.lifetime.end());
        *expires = Some(now + lifetime);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_value_is_read_again_only_after_its_lifetime() {
        let kept = Cached::new(HOUR..=HOUR);
        assert_eq!(kept.get(async { Ok::<_, ()>(1) }).await, Ok(1));
        assert_eq!(kept.get(async { Ok::<_, ()>(2) }).await, Ok(1));
        let expired = Cached::new(Duration::ZERO..=Duration::ZERO);
        assert_eq!(expired.get(async { Ok::<_, ()>(1) }).await, Ok(1));
        assert_eq!(expired.get(async { Ok::<_, ()>(2) }).await, Ok(2));
    }

    #[tokio::test]
    async fn an_error_is_not_cached() {
        let cached = Cached::new(HOUR..=HOUR);
        assert_eq!(cached.get(async { Err::<u32, _>("down") }).await, Err("down"));
        assert_eq!(cached.get(async { Ok::<_, &str>(1) }).await, Ok(1));
    }
}
