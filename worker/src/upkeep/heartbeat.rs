//! Vouches for what this worker holds, and sees to it that it holds what it vouches for.
//!
//! The heartbeat has a connection of its own, so that a full pool can't make a live worker look dead.

use std::{collections::HashSet, sync::Arc};

use errand_shared::storage::Pool;
use errand_shared::{
    Uuid,
    service::lifecycle::Lifecycle,
    storage::queue::{claims, workers},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{context::Context, queue::run_registry::Interrupt};

/// What the other parts read from the heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    /// Since when beats have come without a gap; none while they do not.
    pub(crate) good_since: watch::Receiver<Option<Instant>>,
    /// Whether an admin wants this worker to claim nothing: it is to drain, or the queue is paused.
    pub(crate) draining: watch::Receiver<bool>,
}

pub(crate) struct Heartbeat {
    context: Arc<Context>,
    own: Pool,
    row: workers::WorkerRow,
    good_since: watch::Sender<Option<Instant>>,
    last_good: watch::Sender<Option<Instant>>,
    draining: watch::Sender<bool>,
    /// Leases that were seen on our rows without being in flight, one look ago.
    suspects: HashSet<(Uuid, Uuid)>,
}

impl Heartbeat {
    /// A heartbeat on a connection of its own, and what can be read from it.
    pub(crate) fn new(context: Arc<Context>, own: Pool, host: String) -> (Self, Pulse) {
        let (good_since, good) = watch::channel(None);
        let last_good = watch::Sender::new(None);
        // There is one heartbeat a process.
        context.beats.get_or_init(|| last_good.subscribe());
        let (draining, drain) = watch::channel(false);
        let row = workers::WorkerRow {
            id: context.worker_id,
            host,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            concurrency: i32::try_from(context.settings.worker_concurrency).unwrap_or(i32::MAX),
        };
        let heartbeat = Self {
            context,
            own,
            row,
            good_since,
            last_good,
            draining,
            suspects: HashSet::new(),
        };
        (
            heartbeat,
            Pulse {
                good_since: good,
                draining: drain,
            },
        )
    }

    /// Beats until told to end, which is after the last run has.
    pub(crate) async fn run(mut self, ended: Lifecycle) {
        let distance = self.context.settings.liveness.heartbeat_ms;
        let dead_after = self.context.settings.liveness.worker_dead_after_ms;
        let mut ticks = interval(distance);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = ended.stopped() => return,
            }
            let began = Instant::now();
            match timeout(dead_after, self.beat()).await {
                Ok(Ok(())) => {
                    // A gap as long as that: others may have judged us, and what we know of them is stale.
                    let now = Instant::now();
                    let unbroken = self
                        .last_good
                        .borrow()
                        .is_some_and(|last| now - last < dead_after);
                    self.good_since.send_if_modified(|since| {
                        let broken = !unbroken || since.is_none();
                        if broken {
                            *since = Some(now);
                        }
                        broken
                    });
                    // Dated by its beginning: the row's date is no older than that.
                    self.last_good.send_replace(Some(began));
                }
                Ok(Err(error)) => self.missed(&error),
                Err(elapsed) => self.missed(&elapsed),
            }
        }
    }

    fn missed(&self, why: &dyn std::fmt::Display) {
        tracing::warn!(error = %why, "a heartbeat was missed");
        self.context.metrics.beats_missed.inc();
        self.good_since.send_replace(None);
    }

    async fn beat(&mut self) -> Result<(), sqlx::Error> {
        let in_flight = i32::try_from(self.context.in_flight.len()).unwrap_or(i32::MAX);
        let beat = workers::heartbeat(&self.own, &self.row, in_flight).await?;
        let draining = beat.stop_claiming;
        let others = u32::try_from(beat.other_workers).unwrap_or_default();
        self.context.agents.shared_by(others.saturating_add(1));
        self.context.metrics.drains(draining);
        self.draining
            .send_if_modified(|was| std::mem::replace(was, draining) != draining);
        self.reconcile().await
    }

    /// Compares the rows that bear our id with what is in flight: cancels what users want cancelled, stops what is no
    /// longer ours, and hands back what is ours by the book only (a claim whose answer was lost, a run whose future
    /// died), once it was seen so twice.
    async fn reconcile(&mut self) -> Result<(), sqlx::Error> {
        let looked = Instant::now();
        let held = workers::held_runs(&self.own, self.context.worker_id).await?;
        let in_flight = &self.context.in_flight;
        for run in held.iter().filter(|run| run.cancel_requested) {
            in_flight.interrupt(run.run_id, run.token, Interrupt::Cancelled);
        }
        let leases: HashSet<_> = held.iter().map(|run| (run.run_id, run.token)).collect();
        in_flight.interrupt_lost(looked, |run_id, token| leases.contains(&(run_id, token)));
        let strays: HashSet<_> = leases
            .into_iter()
            .filter(|(run_id, token)| !in_flight.holds(*run_id, *token))
            .collect();
        for (run_id, token) in strays.intersection(&self.suspects) {
            tracing::warn!(run.id = %run_id, "a run of ours that is not in flight is handed back");
            if let Some(queued) = claims::release(&self.own, *run_id, *token, None, 0.0).await? {
                self.context.publish_queued(&queued);
                self.context.notifier.notify_ready(queued.user_id, *run_id);
            }
        }
        self.suspects = strays;
        Ok(())
    }
}
