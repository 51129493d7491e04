//! How many runs are queued, as of at most a second ago.

use std::time::Duration;

use errand_shared::storage::Pool;
use errand_shared::storage::runs;
use tokio::{sync::Mutex, time::Instant};

/// How long a count is good for.
const FRESH: Duration = Duration::from_secs(1);

/// The count of queued runs, asked for when needed and not more often than that.
#[derive(Debug, Default)]
pub(crate) struct QueueDepth(Mutex<Option<(Instant, i64)>>);

impl QueueDepth {
    /// Whether `limit` runs or more are queued.
    ///
    /// # Errors
    /// A fault of Postgres.
    pub(crate) async fn is_at(&self, limit: i64, pool: &Pool) -> Result<bool, sqlx::Error> {
        let mut last = self.0.lock().await;
        if let Some((at, count)) = *last
            && at.elapsed() < FRESH
        {
            return Ok(count >= limit);
        }
        let count = runs::count_queued(pool, limit).await?;
        *last = Some((Instant::now(), count));
        Ok(count >= limit)
    }
}
