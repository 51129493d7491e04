//! This worker's share of the rate limit, used while Redis is unavailable.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::rate::{Rate, number};

/// The times at which the next request and the next token are free.
#[derive(Debug)]
pub(super) struct Local {
    free: Mutex<Option<[Instant; 2]>>,
    workers: AtomicU32,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            free: Mutex::default(),
            workers: AtomicU32::new(1),
        }
    }
}

impl Local {
    pub(super) fn shared_by(&self, workers: u32) {
        self.workers.store(workers.max(1), Ordering::Relaxed);
    }

    /// Reserves a slot and returns how long after `now` it starts. `None` if that is later than `longest`.
    pub(super) fn reserve_slot(
        &self,
        now: Instant,
        requests: Option<Rate>,
        all_tokens: Option<Rate>,
        tokens: u64,
        longest: Duration,
    ) -> Option<Duration> {
        let share = f64::from(self.workers.load(Ordering::Relaxed));
        let mut times = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = times.unwrap_or([now, now]);
        let mut wait = Duration::ZERO;
        let costs = [(requests, 1.0), (all_tokens, number(tokens))];
        for (free, (rate, amount)) in free.iter_mut().zip(costs) {
            let Some(rate) = rate else { continue };
            let next = (*free).max(now);
            wait = wait.max(next.saturating_duration_since(now + micros(rate.burst)));
            *free = next + micros(rate.cost * share * amount);
        }
        if wait > longest {
            return None;
        }
        *times = Some(free);
        Some(wait)
    }
}

fn micros(count: f64) -> Duration {
    Duration::from_secs_f64(count.clamp(0.0, 1e15) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_spread_over_time() {
        let local = Local::default();
        let rate = Rate::per_minute(600);
        let start = Instant::now();
        let slot = |now| {
            local
                .reserve_slot(now, rate, None, 1, Duration::from_mins(10))
                .unwrap()
        };
        let burst = (0..60).filter(|_| slot(start).is_zero()).count();
        assert_eq!(burst, 60, "a tenth may start at once");
        let next = slot(start);
        assert!(
            next > Duration::from_millis(100) && next < Duration::from_millis(120),
            "{next:?}"
        );
        local.shared_by(4);
        let later = start + Duration::from_mins(1);
        let burst = (0..100).filter(|_| slot(later).is_zero()).count();
        assert_eq!(burst, 15, "a quarter of it");
        let late = local.reserve_slot(later, rate, None, 1, Duration::ZERO);
        assert_eq!(late, None, "no wait exceeds the longest wait");
    }
}
