//! What every handler shares.

use std::{future::Future, sync::Arc};

use errand_shared::{clock::Clock, lifecycle::Lifecycle, notifier::Notifier, redis_client::RedisClient};
use sqlx::PgPool;

use crate::{
    auth::Authenticator, error::ApiError, queue_depth::QueueDepth, rate::RateLimits, settings::ApiSettings,
    waiter::Waiter,
};

/// The parts of a running API; cheap to clone.
pub type App = Arc<AppState>;

/// The parts of a running API.
#[derive(Debug)]
pub struct AppState {
    /// The settings.
    pub settings: ApiSettings,
    /// Postgres.
    pub pool: PgPool,
    /// Redis, which may be away.
    pub redis: RedisClient,
    /// The bell and the news.
    pub notifier: Notifier,
    /// Who waits for which run.
    pub waiter: Waiter,
    /// Who callers are.
    pub auth: Authenticator,
    /// How much callers may ask for.
    pub rates: RateLimits,
    /// How many runs are queued.
    pub queue_depth: QueueDepth,
    /// The process's life.
    pub lifecycle: Lifecycle,
    /// The time of day.
    pub clock: Clock,
}

impl AppState {
    /// Bounds what a request does in Postgres: with Postgres away its caller hears so soon.
    ///
    /// # Errors
    /// The fault, or [`ApiError::DatabaseAway`] if it took too long.
    pub async fn database<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ApiError> {
        match tokio::time::timeout(self.settings.http.database_request_timeout_ms, work).await {
            Ok(done) => Ok(done?),
            Err(_elapsed) => Err(ApiError::DatabaseAway { run_id: None, source: None }),
        }
    }
}
