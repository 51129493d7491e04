//! What every handler shares.

use std::{future::Future, sync::Arc};

use errand_shared::storage::{
    Pool,
    group_commit::GroupCommit,
    queue::posts::{Post, PostOutcome},
};
use errand_shared::{
    domain::{agents::Agents, clock::Clock},
    service::lifecycle::Lifecycle,
    signals::{notifier::Notifier, redis_client::RedisClient},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{
    auth::Authenticator,
    chat::{queue_depth::QueueDepth, queue_position::QueueEstimator, waiter::Waiter},
    http::{error::ApiError, rate_limits::RateLimits},
    live::{ConnectionLimit, Subscribers},
    metrics::ApiMetrics,
    settings::ApiSettings,
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
    /// Posts, written together when several come at once.
    pub(crate) posts: GroupCommit<Post, PostOutcome>,
    /// The bell and the news.
    pub(crate) notifier: Notifier,
    /// Redis, for reading.
    pub(crate) redis: RedisClient,
    /// Who reads whose events.
    pub(crate) readers: Subscribers,
    /// How many WebSockets a user has open.
    pub(crate) seats: ConnectionLimit,
    /// The WebSockets, which outlive their handshake's request.
    pub(crate) sockets: TaskTracker,
    /// Who waits for which run.
    pub(crate) waiter: Waiter,
    /// Who callers are.
    pub(crate) auth: Authenticator,
    /// What operators see.
    pub(crate) metrics: ApiMetrics,
    /// The agents that a conversation may choose.
    pub(crate) agents: Agents,
    /// How much callers may ask for.
    pub(crate) rates: RateLimits,
    /// Where waiting messages stand.
    pub(crate) outlook: QueueEstimator,
    /// How many runs are queued.
    pub(crate) queue_depth: QueueDepth,
    /// The process's life.
    pub(crate) lifecycle: Lifecycle,
    /// The time of day.
    pub(crate) clock: Clock,
}

impl AppState {
    /// Until when a request that begins now may be busy with Postgres: with Postgres away its caller hears so soon.
    pub(crate) fn database_deadline(&self) -> Instant {
        Instant::now() + self.settings.http.database_request_timeout_ms
    }

    /// Bounds what a request does in Postgres, if it is all that it does there.
    ///
    /// # Errors
    /// The fault, or [`ApiError::DatabaseAway`] if it took too long.
    pub(crate) fn database<'a, T: Send + 'a>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, ApiError>> {
        within(self.database_deadline(), work)
    }
}

/// Bounds one of several things that a request does in Postgres.
///
/// Boxed, because the futures of statements are large, and a request that waits for its run should not carry them.
///
/// # Errors
/// The fault, or [`ApiError::DatabaseAway`] if it took too long.
pub(crate) fn within<'a, T: Send + 'a>(
    deadline: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
) -> BoxFuture<'a, Result<T, ApiError>> {
    async move {
        match tokio::time::timeout_at(deadline, work).await {
            Ok(done) => Ok(done?),
            Err(_elapsed) => Err(ApiError::DatabaseAway {
                run_id: None,
                source: None,
            }),
        }
    }
    .boxed()
}
