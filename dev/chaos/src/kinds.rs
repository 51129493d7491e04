//! The kinds of fault, and which of them a round has.

use std::time::Duration;

use errand_shared::service::failpoints::Failpoint;
use rand::{RngExt, rngs::SmallRng, seq::SliceRandom};

use crate::args::Round;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    KillApi,
    KillWorker,
    KillAll,
    At(Failpoint),
    PauseWorker,
    PauseAt(Failpoint),
    RollingRestart,
    WorkersGone,
    RedisFlush,
    RedisRestart,
    /// For so many milliseconds.
    RedisPause(u64),
    RedisFull,
    PostgresRestart,
    PostgresCrash,
    SessionsEnded,
    ReadOnly,
    TableLocked,
    NetworkSlow,
    NetworkReset,
    AnswersLost,
    ModelDown,
    ModelSlow,
    ModelBusy,
    ModelError,
    ModelMalformed,
    ModelEndless,
}

impl Fault {
    /// All of a round's, each once.
    fn each(round: Round) -> Vec<Self> {
        let mut all = vec![
            Self::KillApi,
            Self::KillWorker,
            Self::KillAll,
            Self::PauseWorker,
            Self::PauseAt(Failpoint::ToolsRequested),
            Self::PauseAt(Failpoint::BeforeFinish),
            Self::RollingRestart,
            Self::WorkersGone,
            Self::RedisFlush,
            Self::RedisRestart,
            Self::RedisPause(600),
            Self::RedisPause(5000),
            Self::RedisFull,
            Self::PostgresRestart,
            Self::PostgresCrash,
            Self::SessionsEnded,
            Self::ReadOnly,
            Self::TableLocked,
            Self::NetworkSlow,
            Self::NetworkReset,
            Self::AnswersLost,
            Self::ModelDown,
            Self::ModelSlow,
            Self::ModelBusy,
            Self::ModelError,
            Self::ModelMalformed,
            Self::ModelEndless,
        ];
        if round == Round::Long {
            all.push(Self::RedisPause(30_000));
        }
        all.extend(Failpoint::ALL.iter().map(|point| Self::At(*point)));
        all
    }

    /// The faults of a round in their order.
    pub(crate) fn schedule(
        round: Round,
        at_least: usize,
        only: Option<&str>,
        dice: &mut SmallRng,
    ) -> Vec<Self> {
        let mut each = Self::each(round);
        each.retain(|fault| only.is_none_or(|only| fault.name().contains(only)));
        let again: Vec<_> = each
            .iter()
            .copied()
            .filter(|fault| only.is_some() || !fault.is_long())
            .collect();
        let mut all = each;
        while all.len() < at_least && !again.is_empty() {
            all.extend(again.get(dice.random_range(0..again.len())));
        }
        all.shuffle(dice);
        all
    }

    /// Whether it is too long to be drawn again and again.
    fn is_long(self) -> bool {
        self.hold(Round::Long) >= Duration::from_secs(20)
    }

    /// Its name in reports.
    pub(crate) fn name(self) -> String {
        let name = match self {
            Self::KillApi => "kill-api",
            Self::KillWorker => "kill-worker",
            Self::KillAll => "kill-all",
            Self::At(point) => return format!("kill-at-{}", point.name()),
            Self::PauseWorker => "pause-worker",
            Self::PauseAt(point) => return format!("pause-at-{}", point.name()),
            Self::RollingRestart => "rolling-restart",
            Self::WorkersGone => "workers-gone",
            Self::RedisFlush => "redis-flush",
            Self::RedisRestart => "redis-restart",
            Self::RedisPause(millis) => return format!("redis-pause-{millis}ms"),
            Self::RedisFull => "redis-full",
            Self::PostgresRestart => "postgres-restart",
            Self::PostgresCrash => "postgres-crash",
            Self::SessionsEnded => "postgres-sessions-ended",
            Self::ReadOnly => "postgres-read-only",
            Self::TableLocked => "postgres-table-locked",
            Self::NetworkSlow => "network-slow",
            Self::NetworkReset => "network-reset",
            Self::AnswersLost => "network-answers-lost",
            Self::ModelDown => "model-down",
            Self::ModelSlow => "model-slow",
            Self::ModelBusy => "model-429",
            Self::ModelError => "model-500",
            Self::ModelMalformed => "model-malformed",
            Self::ModelEndless => "model-endless",
        };
        name.to_owned()
    }

    /// How long it lasts, for those that have a length.
    pub(crate) const fn hold(self, round: Round) -> Duration {
        let short = matches!(round, Round::Short);
        match self {
            Self::RedisPause(millis) => Duration::from_millis(millis),
            Self::WorkersGone => Duration::from_secs(if short { 10 } else { 60 }),
            Self::ReadOnly => Duration::from_secs(if short { 5 } else { 20 }),
            // Longer than a worker takes to count as dead (6 s), and a sweep.
            Self::PauseWorker | Self::PauseAt(_) => Duration::from_secs(9),
            // Longer than a statement may take (4 s).
            Self::TableLocked | Self::AnswersLost => Duration::from_secs(6),
            _ => Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn names(round: Round, at_least: usize, only: Option<&str>, seed: u64) -> Vec<String> {
        let faults = Fault::schedule(round, at_least, only, &mut SmallRng::seed_from_u64(seed));
        faults.into_iter().map(Fault::name).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let once = names(Round::Long, 200, None, 7);
        assert_eq!(once.len(), 200);
        assert_eq!(once, names(Round::Long, 200, None, 7));
        assert_ne!(once, names(Round::Long, 200, None, 8));
    }

    #[test]
    fn every_round_has_every_kill_point() {
        let short = names(Round::Short, 0, None, 1);
        for point in Failpoint::ALL {
            assert!(short.contains(&format!("kill-at-{}", point.name())), "{point:?}");
        }
    }

    #[test]
    fn long_faults_come_once_and_one_kind_can_be_had_alone() {
        let long = names(Round::Long, 300, None, 1);
        let count = |name: &str| long.iter().filter(|fault| *fault == name).count();
        assert_eq!((count("workers-gone"), count("redis-pause-30000ms")), (1, 1));
        assert_eq!(names(Round::Short, 3, Some("redis-flush"), 1), ["redis-flush"; 3]);
        assert!(names(Round::Short, 3, Some("no such fault"), 1).is_empty());
    }
}
