//! How often and how soon a dead child is started again. Pure: time is an input.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// More deaths than this within [`WINDOW`] and it is left dead.
const MOST: usize = 5;

/// Over which deaths are counted.
const WINDOW: Duration = Duration::from_mins(2);

/// The first pause; it doubles from death to death.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The recent deaths of one child.
#[derive(Debug, Default)]
pub(super) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Counts a death. How long to wait before the next start; `None` when it
    /// has died too often.
    pub(super) fn after_death(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|death| now.duration_since(*death) < WINDOW);
        self.0.push_back(now);
        let recent = self.0.len();
        let doublings = u32::try_from(recent.saturating_sub(1)).ok()?;
        (recent <= MOST).then(|| FIRST_PAUSE * 2_u32.saturating_pow(doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_the_sixth_death_in_a_row_is_the_last() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        let pauses: Vec<_> = (0..6)
            .map(|_| restarts.after_death(now).map(|pause| pause.as_millis()))
            .collect();
        assert_eq!(
            pauses,
            [Some(500), Some(1000), Some(2000), Some(4000), Some(8000), None]
        );
    }

    #[test]
    fn old_deaths_are_forgotten() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        for _ in 0..5 {
            restarts.after_death(now);
        }
        assert_eq!(restarts.after_death(now + WINDOW), Some(FIRST_PAUSE));
    }
}
