//! This worker's share of the limit, for the time without Redis.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{Rate, number};

/// When the next request and the next token are free.
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

    /// Takes a place; gives how long after `now` it is, none if that is more than `longest`.
    pub(super) fn place(
        &self,
        now: Instant,
        requests: Option<Rate>,
        all_tokens: Option<Rate>,
        tokens: u64,
        longest: Duration,
    ) -> Option<Duration> {
        let share = f64::from(self.workers.load(Ordering::Relaxed));
        let mut kept = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = kept.unwrap_or([now, now]);
        let mut wait = Duration::ZERO;
        let taken = [(requests, 1.0), (all_tokens, number(tokens))];
        for (free, (rate, taken)) in free.iter_mut().zip(taken) {
            let Some(rate) = rate else { continue };
            let next = (*free).max(now);
            wait = wait.max(next.saturating_duration_since(now + micros(rate.at_once)));
            *free = next + micros(rate.each * share * taken);
        }
        if wait > longest {
            return None;
        }
        *kept = Some(free);
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
    fn a_share_is_a_part_of_the_limit_and_spread_over_time() {
        let local = Local::default();
        let rate = Rate::per_minute(600);
        let began = Instant::now();
        let place = |now| local.place(now, rate, None, 1, Duration::from_mins(10)).unwrap();
        let at_once = (0..60).filter(|_| place(began).is_zero()).count();
        assert_eq!(at_once, 60, "a tenth at once");
        let next = place(began);
        assert!(
            next > Duration::from_millis(100) && next < Duration::from_millis(120),
            "{next:?}"
        );
        local.shared_by(4);
        let later = began + Duration::from_mins(1);
        let at_once = (0..100).filter(|_| place(later).is_zero()).count();
        assert_eq!(at_once, 15, "a quarter of that");
        let late = local.place(later, rate, None, 1, Duration::ZERO);
        assert_eq!(late, None, "nobody waits beyond what they can");
    }
}
