//! Proves to other workers that this one is alive, and reconciles its leases in the database with the runs it executes.
//!
//! The heartbeat has a dedicated connection, so that an exhausted pool can't make a live worker look dead.

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

use super::liveness::Liveness;
use crate::{context::Context, queue::run_registry::Interrupt};

pub(crate) struct Heartbeat {
    context: Arc<Context>,
    pool: Pool,
    row: workers::WorkerRow,
    alive_since: watch::Sender<Option<Instant>>,
    last_success: watch::Sender<Option<Instant>>,
    draining: watch::Sender<bool>,
    /// Leases that belonged to no active run when they were last read.
    unmatched_leases: HashSet<(Uuid, Uuid)>,
}

impl Heartbeat {
    /// `pool` is for the heartbeat alone.
    pub(crate) fn new(context: Arc<Context>, pool: Pool, host: String) -> (Self, Liveness) {
        let (alive_since, alive_receiver) = watch::channel(None);
        let last_success = watch::Sender::new(None);
        context.last_heartbeat.connect(&last_success);
        let (draining, draining_receiver) = watch::channel(false);
        let row = workers::WorkerRow {
            id: context.worker_id,
            host,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            concurrency: i32::try_from(context.settings.worker_concurrency).unwrap_or(i32::MAX),
        };
        let heartbeat = Self {
            context,
            pool,
            row,
            alive_since,
            last_success,
            draining,
            unmatched_leases: HashSet::new(),
        };
        (
            heartbeat,
            Liveness {
                alive_since: alive_receiver,
                draining: draining_receiver,
            },
        )
    }

    /// Sends heartbeats until `ended` stops, after the last run.
    pub(crate) async fn run(mut self, ended: Lifecycle) {
        let period = self.context.settings.liveness.heartbeat_ms;
        let dead_after = self.context.settings.liveness.worker_dead_after_ms;
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = ended.stopped() => return,
            }
            let started = Instant::now();
            match timeout(dead_after, self.send()).await {
                Ok(Ok(())) => {
                    // After a longer gap other workers may have rescued our runs, and our view of them is outdated.
                    let now = Instant::now();
                    let unbroken = self
                        .last_success
                        .borrow()
                        .is_some_and(|last| now - last < dead_after);
                    self.alive_since.send_if_modified(|since| {
                        let broken = !unbroken || since.is_none();
                        if broken {
                            *since = Some(now);
                        }
                        broken
                    });
                    // The start of the request: the timestamp in the database is not earlier.
                    self.last_success.send_replace(Some(started));
                }
                Ok(Err(error)) => self.missed(&error),
                Err(elapsed) => self.missed(&elapsed),
            }
        }
    }

    fn missed(&self, why: &dyn std::fmt::Display) {
        tracing::warn!(error = %why, "heartbeat failed");
        self.context.metrics.heartbeats_missed.inc();
        self.alive_since.send_replace(None);
    }

    async fn send(&mut self) -> Result<(), sqlx::Error> {
        let active_runs = i32::try_from(self.context.active_runs.len()).unwrap_or(i32::MAX);
        let beat = workers::heartbeat(&self.pool, &self.row, active_runs).await?;
        let draining = beat.stop_claiming;
        let others = u32::try_from(beat.other_workers).unwrap_or_default();
        self.context.agents.shared_by(others.saturating_add(1));
        self.context.metrics.draining.set(i64::from(draining));
        self.draining
            .send_if_modified(|was| std::mem::replace(was, draining) != draining);
        self.reconcile().await
    }

    /// Compares this worker's leases in the database with its active runs: cancels runs whose users have requested it, interrupts runs whose
    /// lease is lost, and releases leases without an active run (for example of a claim whose answer was lost) when they are seen twice in
    /// a row.
    async fn reconcile(&mut self) -> Result<(), sqlx::Error> {
        let read_at = Instant::now();
        let held = workers::held_runs(&self.pool, self.context.worker_id).await?;
        let active_runs = &self.context.active_runs;
        for run in held.iter().filter(|run| run.cancel_requested) {
            active_runs.interrupt(run.run_id, run.token, Interrupt::Cancelled);
        }
        let leases: HashSet<_> = held.iter().map(|run| (run.run_id, run.token)).collect();
        active_runs.interrupt_lost(read_at, |run_id, token| leases.contains(&(run_id, token)));
        let unmatched: HashSet<_> = leases
            .into_iter()
            .filter(|(run_id, token)| !active_runs.contains(*run_id, *token))
            .collect();
        for (run_id, token) in unmatched.intersection(&self.unmatched_leases) {
            tracing::warn!(run.id = %run_id, "releasing a lease that no active run has");
            if let Some(queued) = claims::release(&self.pool, *run_id, *token, None, 0.0).await? {
                self.context.publish_queued(&queued);
                self.context.notifier.notify_ready(queued.user_id, *run_id);
            }
        }
        self.unmatched_leases = unmatched;
        Ok(())
    }
}
