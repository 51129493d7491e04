//! The state that all parts of the worker share.

use std::{sync::Arc, time::Duration};

use errand_shared::{
    Uuid,
    domain::clock::Clock,
    signals::notifier::Notifier,
    storage::{
        Pool,
        group_commit::GroupCommit,
        queue::claims::ClaimBounds,
        runs::{
            QueuedRun,
            finish::{Finish, Finished},
        },
    },
};

use crate::{
    agents::ReadyAgents, metrics::WorkerMetrics, queue::run_registry::RunRegistry,
    run::step_transaction::Steps, settings::WorkerSettings, upkeep::liveness::LastHeartbeat,
};

/// The ends of runs; those that arrive at the same time are committed together.
pub(crate) type Finishes = GroupCommit<Arc<Finish>, Option<Finished>>;

#[derive(Debug)]
pub(crate) struct Context {
    /// A new id for each start of the process.
    pub(crate) worker_id: Uuid,
    pub(crate) settings: WorkerSettings,
    /// The database, with commits that are flushed to disk.
    pub(crate) pool: Pool,
    pub(crate) steps: Steps,
    pub(crate) finishes: Finishes,
    /// The database, with commits that are not flushed: for claims only.
    pub(crate) claims: Pool,
    /// Publishes notifications and events.
    pub(crate) notifier: Notifier,
    pub(crate) agents: ReadyAgents,
    pub(crate) active_runs: RunRegistry,
    pub(crate) clock: Clock,
    pub(crate) last_heartbeat: LastHeartbeat,
    pub(crate) metrics: WorkerMetrics,
}

/// A generous estimate of the length of a token: how many bytes of history a claim reads per token.
const BYTES_PER_TOKEN: i64 = 8;

impl Context {
    /// How much history a claim reads: enough for any agent, because the claim itself finds out which agent the run has.
    pub(crate) fn claim_bounds(&self) -> ClaimBounds {
        let (messages, tokens) = self.agents.longest_history();
        let bound = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        ClaimBounds {
            history_turns: bound(messages),
            history_bytes: bound(tokens).saturating_mul(BYTES_PER_TOKEN),
            deadline_seconds: self.settings.run.run_deadline_seconds.as_secs_f64(),
        }
    }

    /// Publishes that a run is queued again. Only after the commit.
    pub(crate) fn publish_queued(&self, run: &QueuedRun) {
        self.notifier.publish_queued(run, self.clock.now());
    }

    /// How long after a run's deadline the rescuer waits for the run's own worker to finish it.
    pub(crate) fn overdue_grace(&self) -> Duration {
        self.settings.liveness.worker_dead_after_ms
    }
}
