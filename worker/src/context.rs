//! What every part of the worker shares.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use errand_shared::storage::{
    Pool,
    group_commit::GroupCommit,
    runs::finish::{Finish, Finished},
};
use errand_shared::{
    Uuid,
    domain::clock::Clock,
    signals::notifier::Notifier,
    storage::{queue::claims::ClaimBounds, runs::QueuedRun},
};
use tokio::{sync::watch, time::Instant};

use crate::{
    agents::ReadyAgents, metrics::WorkerMetrics, queue::run_registry::InFlight, run::step_transaction::Steps,
    settings::WorkerSettings,
};

/// The parts of a running worker.
#[derive(Debug)]
pub(crate) struct Context {
    /// A fresh id for this start of the process.
    pub(crate) worker_id: Uuid,
    /// The settings.
    pub(crate) settings: WorkerSettings,
    /// Postgres, with commits that wait for the disk.
    pub(crate) pool: Pool,
    /// Steps, written together when several come at once.
    pub(crate) steps: Steps,
    /// Ends of runs, written together when several come at once.
    pub(crate) finishes: GroupCommit<Arc<Finish>, Option<Finished>>,
    /// Postgres, with commits that do not: claims only.
    pub(crate) claims: Pool,
    /// The bell and the news.
    pub(crate) notifier: Notifier,
    /// The agents with their models.
    pub(crate) agents: ReadyAgents,
    /// What is in flight.
    pub(crate) in_flight: InFlight,
    /// The time of day.
    pub(crate) clock: Clock,
    /// When the heartbeat was last good, once there is one.
    pub(crate) beats: Beats,
    /// What operators see.
    pub(crate) metrics: WorkerMetrics,
}

/// When the heartbeat was last good, once there is one.
pub(crate) type Beats = Arc<OnceLock<watch::Receiver<Option<Instant>>>>;

/// Bytes of an estimated token, generously: what a claim may bring along for each token of history.
const BYTES_A_TOKEN: i64 = 8;

impl Context {
    /// What a claim brings along: of which agent the run is, is not known before.
    pub(crate) fn claim_bounds(&self) -> ClaimBounds {
        let (messages, tokens) = self.agents.longest_history();
        let bound = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        ClaimBounds {
            history_turns: bound(messages),
            history_bytes: bound(tokens).saturating_mul(BYTES_A_TOKEN),
            deadline_seconds: self.settings.run.run_deadline_seconds.as_secs_f64(),
        }
    }

    /// Tells that a run waits again. Only after the commit.
    pub(crate) fn publish_queued(&self, run: &QueuedRun) {
        self.notifier.publish_queued(run, self.clock.now());
    }

    /// When the heartbeat was last good.
    pub(crate) fn last_beat(&self) -> Option<Instant> {
        self.beats.get().and_then(|beats| *beats.borrow())
    }

    /// How long after a run's deadline the rescuer leaves it to its own worker.
    pub(crate) fn overdue_grace(&self) -> Duration {
        self.settings.liveness.worker_dead_after_ms
    }
}
