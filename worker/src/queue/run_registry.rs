//! The runs that this worker executes: one entry per lease, from its claim to the end of the attempt.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use errand_shared::{Uuid, signals::delivery::DeliveryState, storage::queue::claims::Lease};
use tokio::{sync::watch, time::Instant};

/// Why an active run has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// It does not have to.
    None,
    /// The user has cancelled it.
    Cancelled,
    /// Another worker has claimed it: write and publish nothing.
    LeaseLost,
    /// The grace period of the shutdown is over: release it.
    Stopping,
}

#[derive(Debug)]
struct Entry {
    token: Uuid,
    user_id: Uuid,
    started_at: Instant,
    delivery: Arc<DeliveryState>,
    interrupt: watch::Sender<Interrupt>,
}

/// The active runs by their ids. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunRegistry(Arc<Mutex<HashMap<Uuid, Entry>>>);

/// An active run. It leaves the registry when dropped.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    registry: RunRegistry,
    run_id: Uuid,
    token: Uuid,
    lease_checked_at: Instant,
    started_at: Instant,
    delivery: Arc<DeliveryState>,
    interrupt: watch::Receiver<Interrupt>,
}

impl RunRegistry {
    /// Adds a run whose lease was known to be held at `lease_checked_at`.
    pub(crate) fn add(&self, lease: &Lease, lease_checked_at: Instant) -> ActiveRun {
        let (sender, interrupt) = watch::channel(Interrupt::None);
        let delivery = Arc::<DeliveryState>::default();
        let started_at = Instant::now();
        self.entries().insert(
            lease.run_id,
            Entry {
                token: lease.token,
                user_id: lease.user_id,
                started_at,
                delivery: Arc::clone(&delivery),
                interrupt: sender,
            },
        );
        ActiveRun {
            registry: self.clone(),
            run_id: lease.run_id,
            token: lease.token,
            lease_checked_at,
            started_at,
            delivery,
            interrupt,
        }
    }

    /// Somebody has subscribed to this user's events.
    pub(crate) fn mark_subscribed(&self, user_id: Uuid) {
        for entry in self.entries().values().filter(|entry| entry.user_id == user_id) {
            entry.delivery.mark_subscribed();
        }
    }

    /// Any run may have subscribers.
    pub(crate) fn mark_all_subscribed(&self) {
        for entry in self.entries().values() {
            entry.delivery.mark_subscribed();
        }
    }

    /// The run's event log lacks text that was published: publish all of it again.
    pub(crate) fn mark_stale(&self, run_id: Uuid) {
        if let Some(entry) = self.entries().get(&run_id) {
            entry.delivery.mark_subscribed();
            entry.delivery.mark_stale();
        }
    }

    /// Interrupts a run, whatever its lease.
    pub(crate) fn interrupt_run(&self, run_id: Uuid, interrupt: Interrupt) {
        if let Some(entry) = self.entries().get(&run_id) {
            entry.interrupt.send_replace(interrupt);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    pub(crate) fn contains(&self, run_id: Uuid, token: Uuid) -> bool {
        self.entries()
            .get(&run_id)
            .is_some_and(|entry| entry.token == token)
    }

    /// Interrupts a run if it has this lease.
    pub(crate) fn interrupt(&self, run_id: Uuid, token: Uuid, interrupt: Interrupt) {
        if let Some(entry) = self.entries().get(&run_id)
            && entry.token == token
        {
            entry.interrupt.send_replace(interrupt);
        }
    }

    pub(crate) fn interrupt_all(&self, interrupt: Interrupt) {
        for entry in self.entries().values() {
            entry.interrupt.send_replace(interrupt);
        }
    }

    /// Interrupts the runs whose lease this worker has lost. Runs added after `read_at`, when the leases were read, are skipped.
    pub(crate) fn interrupt_lost(&self, read_at: Instant, is_held: impl Fn(Uuid, Uuid) -> bool) {
        for (run_id, entry) in self.entries().iter() {
            if entry.started_at < read_at && !is_held(*run_id, entry.token) {
                entry.delivery.close();
                entry.interrupt.send_replace(Interrupt::LeaseLost);
            }
        }
    }

    /// No code under this lock panics, so a poisoned lock can be used.
    fn entries(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveRun {
    /// The delivery of the run's events.
    pub(crate) const fn delivery(&self) -> &Arc<DeliveryState> {
        &self.delivery
    }

    pub(crate) const fn lease_checked_at(&self) -> Instant {
        self.lease_checked_at
    }

    pub(crate) const fn started_at(&self) -> Instant {
        self.started_at
    }

    /// Waits until the run has to stop.
    pub(crate) async fn interrupted(&mut self) -> Interrupt {
        match self
            .interrupt
            .wait_for(|interrupt| *interrupt != Interrupt::None)
            .await
        {
            Ok(interrupt) => *interrupt,
            // A newer lease of the same run has replaced the entry.
            Err(_closed) => Interrupt::LeaseLost,
        }
    }
}

impl Drop for ActiveRun {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        if entries
            .get(&self.run_id)
            .is_some_and(|entry| entry.token == self.token)
        {
            entries.remove(&self.run_id);
        }
    }
}
