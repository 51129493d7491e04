//! Where a waiting message stands: its place in the queue, and how long that may take.
//!
//! Reckoned from what was read at most two seconds ago, so that asking costs nothing however many ask.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use errand_shared::{
    Uuid,
    storage::stats::{self, Throughput},
};
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use utoipa::ToSchema;

use crate::state::App;

/// Queued runs that are looked at, at most.
const MOST_QUEUED: i64 = 100_000;
/// Age at which a heartbeat makes its worker count as dead.
const DEAD_AFTER_SECONDS: f64 = 10.0;
/// How long what was read is good for, at least.
const FRESH: Duration = Duration::from_secs(2);
/// And so many times as long as it took to read.
const REST: u32 = 20;
/// But not longer than this.
const STALE: Duration = Duration::from_secs(30);
/// How long an answer waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where a message stands that waits for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct QueuePlace {
    /// Its place: 1 is next. Users take turns, so this counts of each other user at most as many messages as of this one.
    pub(crate) place: i64,
    /// How long it may be until a worker takes it, in seconds; null while there is no worker, or none has answered yet.
    #[schema(required = true)]
    pub(crate) estimate_seconds: Option<f64>,
}

/// What was read last.
#[derive(Debug, Default)]
pub(crate) struct QueueEstimator {
    seen: std::sync::Mutex<Option<Arc<Seen>>>,
    /// When it is to be read again; locked by who reads.
    next: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Seen {
    runs: HashMap<Uuid, i64>,
    pace: Throughput,
}

impl QueueEstimator {
    /// Where this user's last message stands. None if Postgres does not tell: the answer is as good without.
    pub(crate) async fn place(&self, app: &App, user_id: Uuid) -> Option<QueuePlace> {
        self.refresh(app).await;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.map(|seen| seen.place(user_id))
    }

    /// Reads it if it is time and nobody else does.
    async fn refresh(&self, app: &App) {
        let Ok(mut next) = self.next.try_lock() else {
            return;
        };
        let began = Instant::now();
        if next.is_some_and(|next| began < next) {
            return;
        }
        let read = async {
            let waiting = stats::queued_per_user(&app.pool, MOST_QUEUED).await?;
            let pace = stats::throughput(&app.pool, DEAD_AFTER_SECONDS).await?;
            Ok::<_, sqlx::Error>((waiting, pace))
        };
        let seen = match timeout(PATIENCE, read).await {
            Ok(Ok((waiting, pace))) => {
                let runs = waiting.iter().map(|user| (user.user_id, user.runs)).collect();
                Some(Arc::new(Seen { runs, pace }))
            }
            Ok(Err(_)) | Err(_) => None,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        let now = Instant::now();
        *next = Some(now + ((now - began) * REST).clamp(FRESH, STALE));
    }
}

impl Seen {
    fn place(&self, user_id: Uuid) -> QueuePlace {
        // One that came after the look counts itself.
        let own = self.runs.get(&user_id).copied().unwrap_or(1);
        let others = self.runs.iter().filter(|(user, _)| **user != user_id);
        let place = own + others.map(|(_, runs)| *runs.min(&own)).sum::<i64>();
        let estimate = self.pace.service_seconds.filter(|_| self.pace.slots > 0);
        QueuePlace {
            place,
            estimate_seconds: estimate.map(|service| number(place) * service / number(self.pace.slots)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
const fn number(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_take_turns_so_nobodys_many_messages_count_in_full() {
        let [ada, bob, eve] = [1, 2, 3].map(Uuid::from_u128);
        let seen = Seen {
            runs: HashMap::from([(ada, 10_000), (bob, 2)]),
            pace: Throughput {
                slots: 4,
                service_seconds: Some(2.0),
            },
        };
        let place = |user| seen.place(user).place;
        assert_eq!(place(eve), 3, "one of each before it");
        assert_eq!(place(bob), 4);
        assert_eq!(place(ada), 10_002);
        assert_eq!(seen.place(eve).estimate_seconds, Some(1.5));
    }
}
