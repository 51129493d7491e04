//! Gauges that are read from Postgres when metrics are scraped, at most every two seconds.

use std::{convert::Infallible, sync::Arc, time::Duration};

use errand_shared::{
    service::metrics::{Metrics, flag},
    storage::{
        Pool,
        stats::{self, Gauges},
    },
};
use tokio::time::timeout;

use crate::http::database::Cached;

/// At most this many open runs are counted.
const MAX_OPEN_RUNS: i64 = 100_000;
/// Age of a heartbeat at which the API considers a worker dead. Workers use their own setting.
pub(crate) const DEAD_AFTER_SECONDS: f64 = 10.0;
/// Bounds of how long the gauges are used.
const MIN_LIFETIME: Duration = Duration::from_secs(2);
const MAX_LIFETIME: Duration = Duration::from_secs(30);
/// How long a scrape waits for Postgres.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// The gauges that were read last. None if Postgres could not be read.
#[derive(Debug)]
pub(crate) struct DatabaseGauges(Cached<Option<Gauges>>);

/// The value of one metric.
type Value = fn(&Gauges) -> f64;

impl DatabaseGauges {
    pub(super) fn new(registry: &mut Metrics) -> Arc<Self> {
        let gauges = Arc::new(Self(Cached::new(MIN_LIFETIME..=MAX_LIFETIME)));
        let shown = Arc::clone(&gauges);
        registry.reading(
            "database_readable",
            "1 if the figures below could be read from Postgres",
            move || flag(shown.last().is_some()),
        );
        let shown = Arc::clone(&gauges);
        registry.readings("runs", "Open runs by status", move || {
            let by_status = |gauges: Gauges| {
                [
                    ([("status", "queued")], number(gauges.queued)),
                    ([("status", "running")], number(gauges.running)),
                    ([("status", "waiting_approval")], number(gauges.waiting_approval)),
                ]
            };
            shown.last().map(by_status).into_iter().flatten().collect()
        });
        let shown = Arc::clone(&gauges);
        registry.readings("workers", "Workers by state", move || {
            let by_state = |gauges: Gauges| {
                [
                    ([("state", "alive")], number(gauges.alive)),
                    ([("state", "draining")], number(gauges.draining)),
                    ([("state", "dead")], number(gauges.dead)),
                ]
            };
            shown.last().map(by_state).into_iter().flatten().collect()
        });
        let single: [(&'static str, &'static str, Value); 5] = [
            (
                "queue_depth",
                "Queued runs that a worker could claim now",
                |gauges| number(gauges.ready),
            ),
            (
                "queue_oldest_age_seconds",
                "Time for which the oldest of them has waited",
                |gauges| gauges.oldest_seconds.unwrap_or_default().max(0.0),
            ),
            ("queue_paused", "1 while the queue is paused", |gauges| {
                flag(gauges.paused)
            }),
            (
                "workers_capacity",
                "Runs that the alive workers can execute at the same time",
                |gauges| number(gauges.capacity),
            ),
            (
                "workers_in_flight",
                "Runs of the alive workers at their last heartbeat",
                |gauges| number(gauges.in_flight),
            ),
        ];
        for (name, help, value) in single {
            let shown = Arc::clone(&gauges);
            registry.readings(name, help, move || {
                shown
                    .last()
                    .map(|gauges| ([], value(&gauges)))
                    .into_iter()
                    .collect()
            });
        }
        gauges
    }

    fn last(&self) -> Option<Gauges> {
        self.0.last().flatten()
    }

    /// Reads the gauges if they have expired. Concurrent scrapes wait for the same read.
    pub(crate) async fn refresh(&self, pool: &Pool) {
        let read = async {
            let gauges = stats::gauges(pool, MAX_OPEN_RUNS, DEAD_AFTER_SECONDS);
            Ok::<_, Infallible>(match timeout(READ_TIMEOUT, gauges).await {
                Ok(Ok(gauges)) => Some(gauges),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "cannot read the gauges from Postgres");
                    None
                }
                Err(_elapsed) => None,
            })
        };
        let Ok(_) = self.0.get(read).await;
    }
}

/// A count as a gauge. Counts fit 32 bits by far.
fn number(count: i64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
