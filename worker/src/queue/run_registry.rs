//! What this worker has in flight: one entry a lease, from its claim to its end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use errand_shared::{Uuid, signals::delivery::DeliveryState, storage::queue::claims::Lease};
use tokio::{sync::watch, time::Instant};

/// Why a run in flight is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Nothing asks for it.
    None,
    /// Its user has asked for an end.
    Cancelled,
    /// Its lease is somebody else's: write and publish nothing.
    LeaseLost,
    /// The worker's grace time is over: hand it back.
    Stopping,
}

#[derive(Debug)]
struct Entry {
    token: Uuid,
    user_id: Uuid,
    since: Instant,
    feedback: Arc<DeliveryState>,
    interrupt: watch::Sender<Interrupt>,
}

/// The leases in flight; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<Uuid, Entry>>>);

/// A run in flight until dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    entries: InFlight,
    run_id: Uuid,
    token: Uuid,
    vouched: Instant,
    since: Instant,
    feedback: Arc<DeliveryState>,
    interrupt: watch::Receiver<Interrupt>,
}

impl InFlight {
    /// Enters a lease, which was known to hold at that time.
    pub(crate) fn enter(&self, lease: &Lease, vouched: Instant) -> Flight {
        let (sender, interrupt) = watch::channel(Interrupt::None);
        let feedback = Arc::<DeliveryState>::default();
        let since = Instant::now();
        self.entries().insert(
            lease.run_id,
            Entry {
                token: lease.token,
                user_id: lease.user_id,
                since,
                feedback: Arc::clone(&feedback),
                interrupt: sender,
            },
        );
        Flight {
            entries: self.clone(),
            run_id: lease.run_id,
            token: lease.token,
            vouched,
            since,
            feedback,
            interrupt,
        }
    }

    /// Says that somebody reads this user's events.
    pub(crate) fn watch(&self, user_id: Uuid) {
        for entry in self.entries().values().filter(|entry| entry.user_id == user_id) {
            entry.feedback.mark_subscribed();
        }
    }

    /// Says that somebody may read any of the runs.
    pub(crate) fn watch_all(&self) {
        for entry in self.entries().values() {
            entry.feedback.mark_subscribed();
        }
    }

    /// Says that a run's log does not show how far it has come.
    pub(crate) fn retell(&self, run_id: Uuid) {
        if let Some(entry) = self.entries().get(&run_id) {
            entry.feedback.mark_subscribed();
            entry.feedback.mark_stale();
        }
    }

    /// Interrupts a run, whatever its lease.
    pub(crate) fn interrupt_run(&self, run_id: Uuid, why: Interrupt) {
        if let Some(entry) = self.entries().get(&run_id) {
            entry.interrupt.send_replace(why);
        }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether this lease is in flight here.
    pub(crate) fn holds(&self, run_id: Uuid, token: Uuid) -> bool {
        self.entries()
            .get(&run_id)
            .is_some_and(|entry| entry.token == token)
    }

    /// Interrupts the run of one lease.
    pub(crate) fn interrupt(&self, run_id: Uuid, token: Uuid, why: Interrupt) {
        if let Some(entry) = self.entries().get(&run_id)
            && entry.token == token
        {
            entry.interrupt.send_replace(why);
        }
    }

    /// Interrupts every run.
    pub(crate) fn interrupt_all(&self, why: Interrupt) {
        for entry in self.entries().values() {
            entry.interrupt.send_replace(why);
        }
    }

    /// Interrupts the runs that were entered before `seen` and whose lease is not among those held then.
    pub(crate) fn interrupt_lost(&self, seen: Instant, is_held: impl Fn(Uuid, Uuid) -> bool) {
        for (run_id, entry) in self.entries().iter() {
            if entry.since < seen && !is_held(*run_id, entry.token) {
                entry.feedback.close();
                entry.interrupt.send_replace(Interrupt::LeaseLost);
            }
        }
    }

    /// No code that panics runs under the lock, so a poisoned one is as good as any.
    fn entries(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// What becomes of the run's events.
    pub(crate) const fn feedback(&self) -> &Arc<DeliveryState> {
        &self.feedback
    }

    /// When its lease was known to hold.
    pub(crate) const fn vouched(&self) -> Instant {
        self.vouched
    }

    /// Since when it is in flight.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// Ends when something asks the run to stop, and says what.
    pub(crate) async fn interrupted(&mut self) -> Interrupt {
        match self.interrupt.wait_for(|why| *why != Interrupt::None).await {
            Ok(why) => *why,
            // A newer lease of the same run took the entry's place.
            Err(_closed) => Interrupt::LeaseLost,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut entries = self.entries.entries();
        if entries
            .get(&self.run_id)
            .is_some_and(|entry| entry.token == self.token)
        {
            entries.remove(&self.run_id);
        }
    }
}
