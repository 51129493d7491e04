//! What every handler shares.

use std::{future::Future, sync::Arc};

use errand_shared::db::Pool;
use errand_shared::{clock::Clock, lifecycle::Lifecycle, notifier::Notifier};

use crate::{
    auth::Authenticator, error::ApiError, queue_depth::QueueDepth, rate::RateLimits, settings::ApiSettings,
    waiter::Waiter,
};

/// The parts of a running API; cheap to clone.
pub(crate) type App = Arc<AppState>;

/// The parts of a running API.
#[derive(Debug)]
pub(crate) struct AppState {
    /// The settings.
    pub(crate) settings: ApiSettings,
    /// Postgres.
    pub(crate) pool: Pool,
    /// The bell and the news.
    pub(crate) notifier: Notifier,
    /// Who waits for which run.
    pub(crate) waiter: Waiter,
    /// Who callers are.
    pub(crate) auth: Authenticator,
    /// How much callers may ask for.
    pub(crate) rates: RateLimits,
    /// How many runs are queued.
    pub(crate) queue_depth: QueueDepth,
    /// The process's life.
    pub(crate) lifecycle: Lifecycle,
    /// The time of day.
    pub(crate) clock: Clock,
}

impl AppState {
    /// Bounds what a request does in Postgres: with Postgres away its caller hears so soon.
    ///
    /// # Errors
    /// The fault, or [`ApiError::DatabaseAway`] if it took too long.
    pub(crate) async fn database<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(self.settings.http.database_request_timeout_ms, work).await {
            Ok(done) => Ok(done?),
            Err(_elapsed) => Err(ApiError::DatabaseAway {
                run_id: None,
                source: None,
            }),
        }
    }
}
