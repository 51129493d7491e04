//! What Postgres has, as metrics show it: read when it is asked for, and not too often.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use errand_shared::{
    service::metrics::{Metrics, flag},
    storage::stats::{self, Gauges},
};
use tokio::time::{Instant, timeout};

use crate::state::AppState;

/// Open runs that are looked at, at most.
const MOST_OPEN: i64 = 100_000;
/// Age at which a heartbeat makes its worker count as dead. Workers judge each other by a setting of theirs.
const DEAD_AFTER_SECONDS: f64 = 10.0;
/// How long what was read is shown, at least.
const FRESH: Duration = Duration::from_secs(2);
/// And so many times as long as it took to read, so that a long queue is not made longer by looking at it.
const REST: u32 = 20;
/// But not longer than this.
const STALE: Duration = Duration::from_secs(30);
/// How long a scrape waits for Postgres.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was read last.
#[derive(Debug, Default)]
pub(crate) struct DatabaseGauges {
    shown: Arc<Mutex<Option<Gauges>>>,
    /// When it is to be read again.
    next: tokio::sync::Mutex<Option<Instant>>,
}

/// One metric of what was read.
type Look = fn(&Gauges) -> f64;

impl DatabaseGauges {
    pub(super) fn new(registry: &mut Metrics) -> Arc<Self> {
        let book = Self::default();
        let shown = Arc::clone(&book.shown);
        registry.reading(
            "book_readable",
            "1 if Postgres could be read at this scrape",
            move || flag(seen(&shown).is_some()),
        );
        let shown = Arc::clone(&book.shown);
        registry.readings("runs", "Open runs by status", move || {
            let by_status = |gauges: Gauges| {
                [
                    ([("status", "queued")], number(gauges.queued)),
                    ([("status", "running")], number(gauges.running)),
                    ([("status", "waiting_approval")], number(gauges.waiting_approval)),
                ]
            };
            seen(&shown).map(by_status).into_iter().flatten().collect()
        });
        let shown = Arc::clone(&book.shown);
        registry.readings("workers", "Workers by state", move || {
            let by_state = |gauges: Gauges| {
                [
                    ([("state", "alive")], number(gauges.alive)),
                    ([("state", "draining")], number(gauges.draining)),
                    ([("state", "dead")], number(gauges.dead)),
                ]
            };
            seen(&shown).map(by_state).into_iter().flatten().collect()
        });
        let single: [(&'static str, &'static str, Look); 5] = [
            ("queue_depth", "Queued runs that could be claimed now", |gauges| {
                number(gauges.ready)
            }),
            (
                "queue_oldest_age_seconds",
                "How long the oldest of those has waited",
                |gauges| gauges.oldest_seconds.unwrap_or_default().max(0.0),
            ),
            ("queue_paused", "1 while the queue is paused", |gauges| {
                flag(gauges.paused)
            }),
            (
                "workers_capacity",
                "Runs that living workers may have at once",
                |gauges| number(gauges.capacity),
            ),
            (
                "workers_in_flight",
                "Runs that living workers had at their last heartbeat",
                |gauges| number(gauges.in_flight),
            ),
        ];
        for (name, help, look) in single {
            let shown = Arc::clone(&book.shown);
            registry.readings(name, help, move || {
                seen(&shown)
                    .map(|gauges| ([], look(&gauges)))
                    .into_iter()
                    .collect()
            });
        }
        Arc::new(book)
    }

    /// Reads it if it is time; who comes while somebody reads waits for that.
    pub(crate) async fn refresh(&self, app: &AppState) {
        let mut next = self.next.lock().await;
        let began = Instant::now();
        if next.is_some_and(|next| began < next) {
            return;
        }
        let read = timeout(PATIENCE, stats::gauges(&app.pool, MOST_OPEN, DEAD_AFTER_SECONDS)).await;
        let gauges = match read {
            Ok(Ok(gauges)) => Some(gauges),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the open runs could not be counted");
                None
            }
            Err(_elapsed) => None,
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
        let now = Instant::now();
        *next = Some(now + ((now - began) * REST).clamp(FRESH, STALE));
    }
}

fn seen(shown: &Mutex<Option<Gauges>>) -> Option<Gauges> {
    *shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts are far below what a gauge tells exactly.
fn number(count: i64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
