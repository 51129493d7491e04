//! Estimates a queued run's position in the queue and how long it will wait.
//!
//! Postgres is read at most every two seconds, so the cost of an estimate does not depend on how many callers ask for one.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use errand_shared::{
    Uuid,
    storage::{
        Pool,
        stats::{self, Throughput},
    },
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{http::database::Cached, metrics::DEAD_AFTER_SECONDS};

/// At most this many queued runs are counted.
const MAX_QUEUED: i64 = 100_000;
/// Bounds of how long the figures are used.
const MIN_LIFETIME: Duration = Duration::from_secs(2);
const MAX_LIFETIME: Duration = Duration::from_secs(30);
/// How long a response waits for the figures.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// The position of a queued run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = QueuePlace)]
pub(crate) struct QueuePosition {
    /// The position in the queue; 1 is next. Workers serve users in turn, so another user's messages count at most as often
    /// as this user's own.
    pub(crate) place: i64,
    /// The estimated time in seconds until a worker claims the run. Null if no worker is alive or no run has finished yet.
    #[schema(required = true)]
    pub(crate) estimate_seconds: Option<f64>,
}

/// Estimates queue positions from cached figures.
#[derive(Debug)]
pub(crate) struct QueueEstimator(Cached<Option<Arc<QueueFigures>>>);

#[derive(Debug)]
struct QueueFigures {
    queued_per_user: HashMap<Uuid, i64>,
    throughput: Throughput,
}

impl QueueEstimator {
    pub(crate) fn new() -> Self {
        Self(Cached::new(MIN_LIFETIME..=MAX_LIFETIME))
    }

    /// The position of this user's newest run. None if Postgres does not respond in time.
    pub(crate) async fn position(&self, pool: &Pool, user_id: Uuid) -> Option<QueuePosition> {
        let read = async {
            let figures = timeout(READ_TIMEOUT, QueueFigures::read(pool)).await;
            Ok::<_, Infallible>(figures.ok().and_then(Result::ok).map(Arc::new))
        };
        let Ok(figures) = self.0.get_or_last(read).await;
        figures.flatten().map(|figures| figures.position(user_id))
    }
}

impl QueueFigures {
    async fn read(pool: &Pool) -> Result<Self, sqlx::Error> {
        let users = stats::queued_per_user(pool, MAX_QUEUED).await?;
        let throughput = stats::throughput(pool, DEAD_AFTER_SECONDS).await?;
        Ok(Self {
            queued_per_user: users.iter().map(|user| (user.user_id, user.runs)).collect(),
            throughput,
        })
    }

    fn position(&self, user_id: Uuid) -> QueuePosition {
        // A run that was queued after the figures were read is not among them.
        let own = self.queued_per_user.get(&user_id).copied().unwrap_or(1);
        let others = self.queued_per_user.iter().filter(|(user, _)| **user != user_id);
        let place = own + others.map(|(_, runs)| *runs.min(&own)).sum::<i64>();
        let Throughput {
            slots,
            service_seconds,
        } = self.throughput;
        let service_seconds = service_seconds.filter(|_| slots > 0);
        QueuePosition {
            place,
            estimate_seconds: service_seconds.map(|seconds| float(place) * seconds / float(slots)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
const fn float(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_users_runs_count_at_most_as_often_as_ones_own() {
        let [ada, bob, eve] = [1, 2, 3].map(Uuid::from_u128);
        let figures = QueueFigures {
            queued_per_user: HashMap::from([(ada, 10_000), (bob, 2)]),
            throughput: Throughput {
                slots: 4,
                service_seconds: Some(2.0),
            },
        };
        let place = |user| figures.position(user).place;
        assert_eq!(place(eve), 3, "one run of each other user comes first");
        assert_eq!(place(bob), 4);
        assert_eq!(place(ada), 10_002);
        assert_eq!(figures.position(eve).estimate_seconds, Some(1.5));
    }
}
