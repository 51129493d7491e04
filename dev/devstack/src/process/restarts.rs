//! Decides whether and when a process that has exited is started again. Time is an input.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The number of exits within [`WINDOW`] after which a process is still started again.
const MAX_EXITS: usize = 5;

/// The time over which exits are counted.
const WINDOW: Duration = Duration::from_mins(2);

/// The first delay. It doubles with each exit.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The recent exits of one process.
#[derive(Debug, Default)]
pub(crate) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Counts an exit and returns the delay before the next start, or `None` after too many exits.
    pub(crate) fn delay_after_exit(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|exit| now.duration_since(*exit) < WINDOW);
        self.0.push_back(now);
        let recent = self.0.len();
        let doublings = u32::try_from(recent.saturating_sub(1)).ok()?;
        (recent <= MAX_EXITS).then(|| FIRST_DELAY * 2_u32.saturating_pow(doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_until_the_sixth_exit_in_a_row() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        let delays: Vec<_> = (0..6)
            .map(|_| restarts.delay_after_exit(now).map(|delay| delay.as_millis()))
            .collect();
        assert_eq!(
            delays,
            [Some(500), Some(1000), Some(2000), Some(4000), Some(8000), None]
        );
    }

    #[test]
    fn old_exits_are_not_counted() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        for _ in 0..5 {
            restarts.delay_after_exit(now);
        }
        assert_eq!(restarts.delay_after_exit(now + WINDOW), Some(FIRST_DELAY));
    }
}
