//! The faults, and the schedule of a round.

use std::time::Duration;

use rand::{RngExt, rngs::SmallRng, seq::SliceRandom};

use crate::{
    args::Round,
    failpoint::{self, BEFORE_FINISH, Failpoint, TOOLS_REQUESTED},
};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    KillApi,
    KillWorker,
    KillAll,
    KillAt(Failpoint),
    PauseWorker,
    PauseAt(Failpoint),
    RollingRestart,
    WorkersGone,
    RedisFlush,
    RedisRestart,
    /// For this number of milliseconds.
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
    /// Each fault of a round once.
    fn each(round: Round) -> Vec<Self> {
        let mut all = vec![
            Self::KillApi,
            Self::KillWorker,
            Self::KillAll,
            Self::PauseWorker,
            Self::PauseAt(TOOLS_REQUESTED),
            Self::PauseAt(BEFORE_FINISH),
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
        all.extend(failpoint::ALL.iter().map(|failpoint| Self::KillAt(*failpoint)));
        all
    }

    /// The faults of a round in random order: each once, and then random ones up to `at_least`.
    pub(crate) fn schedule(
        round: Round,
        at_least: usize,
        only: Option<&str>,
        rng: &mut SmallRng,
    ) -> Vec<Self> {
        let mut each = Self::each(round);
        each.retain(|fault| only.is_none_or(|only| fault.name().contains(only)));
        let repeatable: Vec<_> = each
            .iter()
            .copied()
            .filter(|fault| only.is_some() || !fault.is_long())
            .collect();
        let mut all = each;
        while all.len() < at_least && !repeatable.is_empty() {
            all.extend(repeatable.get(rng.random_range(0..repeatable.len())));
        }
        all.shuffle(rng);
        all
    }

    /// Whether the fault is too long to be repeated.
    fn is_long(self) -> bool {
        self.duration(Round::Long) >= Duration::from_secs(20)
    }

    /// The name in reports.
    pub(crate) fn name(self) -> String {
        let name = match self {
            Self::KillApi => "kill-api",
            Self::KillWorker => "kill-worker",
            Self::KillAll => "kill-all",
            Self::KillAt(failpoint) => return format!("kill-at-{}", failpoint.name),
            Self::PauseWorker => "pause-worker",
            Self::PauseAt(failpoint) => return format!("pause-at-{}", failpoint.name),
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

    /// How long the fault lasts, if it has a duration.
    pub(crate) const fn duration(self, round: Round) -> Duration {
        let short = matches!(round, Round::Short);
        match self {
            Self::RedisPause(millis) => Duration::from_millis(millis),
            Self::WorkersGone => Duration::from_secs(if short { 10 } else { 60 }),
            Self::ReadOnly => Duration::from_secs(if short { 5 } else { 20 }),
            // Longer than the time after which a worker is considered dead (6 s) plus one interval of the rescuer.
            Self::PauseWorker | Self::PauseAt(_) => Duration::from_secs(9),
            // Longer than the statement timeout (4 s).
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
    fn every_round_has_every_failpoint() {
        let short = names(Round::Short, 0, None, 1);
        for failpoint in failpoint::ALL {
            assert!(
                short.contains(&format!("kill-at-{}", failpoint.name)),
                "{failpoint:?}"
            );
        }
    }

    #[test]
    fn long_faults_are_not_repeated_and_one_fault_can_be_selected() {
        let long = names(Round::Long, 300, None, 1);
        let count = |name: &str| long.iter().filter(|fault| *fault == name).count();
        assert_eq!((count("workers-gone"), count("redis-pause-30000ms")), (1, 1));
        assert_eq!(names(Round::Short, 3, Some("redis-flush"), 1), ["redis-flush"; 3]);
        assert!(names(Round::Short, 3, Some("no such fault"), 1).is_empty());
    }
}
