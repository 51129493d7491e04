//! How many workers the load of the last hour calls for.

use errand_shared::storage::{queue::workers::WorkerInfo, stats::RecentRuns};
use serde::Serialize;
use utoipa::ToSchema;

/// The share of a worker's places that is to be in use on average: the rest is for bursts.
const TARGET_USE: f64 = 0.7;
/// What a worker takes at once if nobody says otherwise.
const DEFAULT_CONCURRENCY: f64 = 1000.0;
/// Age of a heartbeat in seconds up to which a worker counts here.
const ALIVE_SECONDS: f64 = 10.0;
/// Seconds of the two windows.
const WINDOWS: [f64; 2] = [300.0, 3600.0];

/// What the load calls for, and how that was reckoned.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Capacity {
    /// Runs that came a second, on average over the last 5 minutes.
    pub(crate) arrivals_per_second_5_min: f64,
    /// The same over the last 60 minutes.
    pub(crate) arrivals_per_second_60_min: f64,
    /// How long a worker was busy with a run, in seconds on average.
    pub(crate) service_seconds: f64,
    /// Runs that a worker takes at once: the average over those alive, or the setting's default if none is.
    pub(crate) concurrency: f64,
    /// Which share of that is to be in use.
    pub(crate) target_use: f64,
    /// How many workers are alive.
    pub(crate) workers_alive: usize,
    /// How many the load calls for.
    pub(crate) workers: u64,
    /// The reckoning, with its numbers.
    pub(crate) formula: String,
    /// How many runs were looked at.
    pub(crate) sample_runs: i64,
    /// Over how many seconds, which are fewer than 3600 when too many runs came.
    pub(crate) sample_seconds: f64,
}

/// Reckons from the newest runs, of which at most `most` were looked at, and the workers.
pub(crate) fn reckon(recent: &RecentRuns, most: i64, workers: &[WorkerInfo]) -> Capacity {
    // A full sample reaches only as far back as its oldest run.
    let reach = match recent.oldest_seconds {
        Some(oldest) if recent.runs >= most => oldest.max(1.0),
        _ => f64::INFINITY,
    };
    let [short, long] = WINDOWS.map(|window| window.min(reach));
    let arrivals_5 = count(recent.last_5_min) / short;
    let arrivals_60 = count(recent.runs) / long;
    let service = recent.service_seconds.unwrap_or_default().max(0.0);
    let alive: Vec<_> = workers
        .iter()
        .filter(|worker| worker.heartbeat_age_seconds <= ALIVE_SECONDS)
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
    reason = "a whole number not below zero; a cast takes the nearest there is"
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
    fn a_rise_counts_at_once_and_a_fall_after_an_hour() {
        // 10 a second for five minutes, 2 s each: 20 at once, of 10 × 0.7 a worker.
        let rise = reckon(&recent(3000, 3000, 2.0), 9000, &[worker(10, 1.0)]);
        assert_eq!(rise.workers, 3);
        assert!(
            rise.formula.ends_with("= ceil(10.000 × 2.000 / (10 × 0.7)) = 3"),
            "{}",
            rise.formula
        );
        let fall = reckon(&recent(7200, 0, 7.0), 9000, &[worker(10, 1.0)]);
        assert_eq!(fall.workers, 2, "{}", fall.formula);
    }

    #[test]
    fn a_full_sample_reaches_as_far_as_its_oldest_run() {
        // 4000 runs in the last 40 s.
        let capacity = reckon(&recent(4000, 4000, 1.0), 4000, &[worker(100, 1.0)]);
        assert!((capacity.arrivals_per_second_60_min - 100.0).abs() < 1e-9);
        assert!((capacity.sample_seconds - 40.0).abs() < 1e-9);
        assert_eq!(capacity.workers, 2);
    }

    #[test]
    fn dead_workers_do_not_count_and_none_are_called_for_by_no_runs() {
        let workers = [worker(10, 1.0), worker(30, 2.0), worker(1, 3600.0)];
        let idle = RecentRuns {
            oldest_seconds: None,
            service_seconds: None,
            ..recent(0, 0, 0.0)
        };
        let capacity = reckon(&idle, 10, &workers);
        assert_eq!((capacity.workers, capacity.workers_alive), (0, 2));
        assert!((capacity.concurrency - 20.0).abs() < 1e-9);
        assert_eq!(
            reckon(&recent(1, 1, 0.1), 10, &[]).workers,
            1,
            "one run calls for one"
        );
    }
}
