//! Estimates the number of workers that the load of the last hour requires.

use errand_shared::storage::{queue::workers::WorkerInfo, stats::RecentRuns};
use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::DEAD_AFTER_SECONDS;

/// The share of a worker's slots that should be in use on average. The rest is for bursts.
const TARGET_USE: f64 = 0.7;
/// The default of the setting `WORKER_CONCURRENCY`.
const DEFAULT_CONCURRENCY: f64 = 1000.0;
/// The two windows, in seconds.
const WINDOWS: [f64; 2] = [300.0, 3600.0];

/// The number of workers that the load requires, and its calculation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Capacity {
    /// New runs per second, on average over the last 5 minutes.
    pub(super) arrivals_per_second_5_min: f64,
    /// New runs per second, on average over the last 60 minutes.
    pub(super) arrivals_per_second_60_min: f64,
    /// The average time in seconds for which a worker executes a run.
    pub(super) service_seconds: f64,
    /// The number of runs that a worker executes at the same time: the average of the alive workers, or the default if there are
    /// none.
    pub(super) concurrency: f64,
    /// The share of `concurrency` that should be in use on average.
    pub(super) target_use: f64,
    /// The number of alive workers.
    pub(super) workers_alive: usize,
    /// The number of workers that the load requires.
    pub(super) workers: u64,
    /// The calculation with its numbers.
    pub(super) formula: String,
    /// The number of runs in the sample.
    pub(super) sample_runs: i64,
    /// The period of the sample in seconds: 3600, or less under very high load.
    pub(super) sample_seconds: f64,
}

/// Estimates from the newest runs, of which at most `max_runs` were read, and from the workers.
pub(super) fn estimate(recent: &RecentRuns, max_runs: i64, workers: &[WorkerInfo]) -> Capacity {
    // A sample that is full covers only the time since its oldest run.
    let covered = match recent.oldest_seconds {
        Some(oldest) if recent.runs >= max_runs => oldest.max(1.0),
        _ => f64::INFINITY,
    };
    let [short, long] = WINDOWS.map(|window| window.min(covered));
    let arrivals_5 = count(recent.last_5_min) / short;
    let arrivals_60 = count(recent.runs) / long;
    let service = recent.service_seconds.unwrap_or_default().max(0.0);
    let alive: Vec<_> = workers
        .iter()
        .filter(|worker| worker.heartbeat_age_seconds <= DEAD_AFTER_SECONDS)
        .map(|worker| f64::from(worker.concurrency))
        .collect();
    let concurrency = if alive.is_empty() {
        DEFAULT_CONCURRENCY
    } else {
        alive.iter().sum::<f64>() / count(i64::try_from(alive.len()).unwrap_or(i64::MAX))
    };
    let arrivals = arrivals_5.max(arrivals_60);
    let wanted = (arrivals * service / (concurrency * TARGET_USE)).ceil();
    let wanted = whole(wanted).max(u64::from(recent.runs > 0));
    Capacity {
        arrivals_per_second_5_min: arrivals_5,
        arrivals_per_second_60_min: arrivals_60,
        service_seconds: service,
        concurrency,
        target_use: TARGET_USE,
        workers_alive: alive.len(),
        workers: wanted,
        formula: format!(
            "workers = ceil(arrivals per second × service seconds / (concurrency × {TARGET_USE})) \
             = ceil({arrivals:.3} × {service:.3} / ({concurrency:.0} × {TARGET_USE})) = {wanted}"
        ),
        sample_runs: recent.runs,
        sample_seconds: long,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
const fn count(number: i64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is whole and not negative; the cast saturates"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use errand_shared::Uuid;

    use super::*;

    fn worker(concurrency: i32, heartbeat_age_seconds: f64) -> WorkerInfo {
        WorkerInfo {
            id: Uuid::nil(),
            host: "h".to_owned(),
            version: "1".to_owned(),
            concurrency,
            in_flight: 0,
            draining: false,
            started_at: DateTime::UNIX_EPOCH,
            heartbeat_at: DateTime::UNIX_EPOCH,
            heartbeat_age_seconds,
        }
    }

    fn recent(runs: i64, last_5_min: i64, service_seconds: f64) -> RecentRuns {
        RecentRuns {
            runs,
            last_5_min,
            succeeded: runs,
            failed: 0,
            cancelled: 0,
            oldest_seconds: Some(40.0),
            service_seconds: Some(service_seconds),
        }
    }

    #[test]
    fn a_rise_in_load_counts_immediately_and_a_fall_after_an_hour() {
        // 10 runs per second for five minutes, 2 s each: 20 at the same time, and a worker executes 10 × 0.7.
        let rise = estimate(&recent(3000, 3000, 2.0), 9000, &[worker(10, 1.0)]);
        assert_eq!(rise.workers, 3);
        assert!(
            rise.formula.ends_with("= ceil(10.000 × 2.000 / (10 × 0.7)) = 3"),
            "{}",
            rise.formula
        );
        let fall = estimate(&recent(7200, 0, 7.0), 9000, &[worker(10, 1.0)]);
        assert_eq!(fall.workers, 2, "{}", fall.formula);
    }

    #[test]
    fn a_full_sample_covers_the_time_since_its_oldest_run() {
        // 4000 runs in the last 40 s.
        let capacity = estimate(&recent(4000, 4000, 1.0), 4000, &[worker(100, 1.0)]);
        assert!((capacity.arrivals_per_second_60_min - 100.0).abs() < 1e-9);
        assert!((capacity.sample_seconds - 40.0).abs() < 1e-9);
        assert_eq!(capacity.workers, 2);
    }

    #[test]
    fn dead_workers_do_not_count_and_no_runs_require_no_workers() {
        let workers = [worker(10, 1.0), worker(30, 2.0), worker(1, 3600.0)];
        let idle = RecentRuns {
            oldest_seconds: None,
            service_seconds: None,
            ..recent(0, 0, 0.0)
        };
        let capacity = estimate(&idle, 10, &workers);
        assert_eq!((capacity.workers, capacity.workers_alive), (0, 2));
        assert!((capacity.concurrency - 20.0).abs() < 1e-9);
        assert_eq!(
            estimate(&recent(1, 1, 0.1), 10, &[]).workers,
            1,
            "one run requires one worker"
        );
    }
}
