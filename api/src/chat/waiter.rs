//! Lets requests wait for runs. One Redis subscription serves all waiting requests; a periodic query in Postgres finds the
//! ends that Redis missed, also for subscribers of events.
//!
//! A waiting request costs one map entry and one future. It holds no connection and does not poll.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use errand_shared::{
    Uuid,
    domain::{clock::Clock, events::RunEnd, run::RunStatus},
    service::lifecycle::Lifecycle,
    storage::{
        Pool,
        runs::{self, RunView},
    },
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use crate::live::{Delivery, LiveEvent, Subscribers};

/// At most this many runs are read in one query.
const PAGE: usize = 1000;
/// While Redis is connected, Postgres is polled this many times less often.
const CONNECTED_FACTOR: u32 = 5;

/// What ended a wait.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The run finished or was deleted.
    Finished(Outcome),
    /// The run needs approval.
    AwaitingApproval,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The run has a final status.
    Final(Arc<RunEnd>),
    /// The run was deleted with its conversation.
    Deleted,
}

/// All waiting requests. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Waiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    subscribers: Subscribers,
    waiting: Mutex<HashMap<Uuid, Entry>>,
    /// Whether the Redis subscription is active.
    connected: AtomicBool,
    poll_now: Notify,
}

#[derive(Debug)]
struct Entry {
    user_id: Uuid,
    outcome: Arc<watch::Sender<Option<Outcome>>>,
    /// The last epoch in which the run is known to have needed approval, or -1.
    approval_epoch: watch::Sender<i32>,
    /// The number of [`Wait`]s.
    waits: usize,
    /// Whether the run's row was committed. Only then does a missing row mean that the run was deleted.
    stored: bool,
}

/// A wait for one run. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    waiter: Waiter,
    run_id: Uuid,
    outcome: watch::Receiver<Option<Outcome>>,
    approval_epoch: watch::Receiver<i32>,
    sender: Arc<watch::Sender<Option<Outcome>>>,
}

impl Waiter {
    /// Subscribers also receive every end that is found by polling.
    pub(crate) fn new(subscribers: Subscribers) -> Self {
        Self(Arc::new(Shared {
            subscribers,
            waiting: Mutex::default(),
            connected: AtomicBool::new(false),
            poll_now: Notify::new(),
        }))
    }

    /// Starts to wait for a user's run. The caller must then read the run once: only later changes are reported.
    pub(crate) fn wait_for(&self, user_id: Uuid, run_id: Uuid) -> Wait {
        let new_entry = || Entry {
            user_id,
            outcome: Arc::new(watch::Sender::new(None)),
            approval_epoch: watch::Sender::new(-1),
            waits: 0,
            stored: false,
        };
        let mut waiting = self.waiting();
        let entry = waiting.entry(run_id).or_insert_with(new_entry);
        // A retry may have undone an end that was reported earlier.
        if entry.outcome.borrow().is_some() {
            *entry = new_entry();
        }
        entry.waits += 1;
        let sender = Arc::clone(&entry.outcome);
        let approval_epoch = entry.approval_epoch.subscribe();
        drop(waiting);
        Wait {
            waiter: self.clone(),
            run_id,
            outcome: sender.subscribe(),
            approval_epoch,
            sender,
        }
    }

    /// The number of waiting requests.
    pub(crate) fn len(&self) -> usize {
        self.waiting().values().map(|entry| entry.waits).sum()
    }

    /// Whether the Redis subscription is active.
    pub(crate) fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed)
    }

    /// Polls Postgres until the process shuts down.
    pub(crate) fn start_polling(&self, pool: Pool, interval: Duration, clock: Clock, lifecycle: &Lifecycle) {
        lifecycle.spawn_until_stopped(poll(self.clone(), pool, interval, clock));
    }

    /// Records that the Redis subscription is active, and polls once for what was missed before.
    pub(crate) fn set_connected(&self) {
        self.0.connected.store(true, Ordering::Relaxed);
        self.0.poll_now.notify_one();
    }

    /// Records that the Redis subscription was lost. Returns whether it was active.
    pub(crate) fn set_disconnected(&self) -> bool {
        self.0.connected.swap(false, Ordering::Relaxed)
    }

    /// Whether a request waits for this run.
    pub(crate) fn has(&self, run_id: Uuid) -> bool {
        self.waiting().contains_key(&run_id)
    }

    /// Reports the end of a run to its waiting requests and subscribers.
    pub(crate) fn report_finished(&self, end: RunEnd) {
        if self.0.subscribers.has(end.user_id) {
            match LiveEvent::of_end(&end) {
                Ok(event) => self.0.subscribers.deliver(end.user_id, Delivery::Event(event)),
                Err(error) => tracing::error!(%error, "cannot serialize a final event"),
            }
        }
        if let Some(entry) = self.waiting().get(&end.response.run_id) {
            let outcome = Arc::clone(&entry.outcome);
            outcome.send_replace(Some(Outcome::Final(Arc::new(end))));
        }
    }

    /// Reports to a run's waiting requests that the run needs approval since this epoch.
    pub(crate) fn report_awaiting_approval(&self, run_id: Uuid, epoch: i32) {
        if let Some(entry) = self.waiting().get(&run_id) {
            entry.approval_epoch.send_if_modified(|known| {
                let is_newer = *known < epoch;
                *known = epoch.max(*known);
                is_newer
            });
        }
    }

    /// Reports a run that polling found awaiting approval to its waiting requests and subscribers.
    fn report_polled_approval(&self, view: &RunView, at: DateTime<Utc>) {
        self.report_awaiting_approval(view.response.run_id, view.epoch);
        if !self.0.subscribers.has(view.user_id) {
            return;
        }
        for event in view.requests(at) {
            match LiveEvent::new(&event) {
                Ok(event) => self.0.subscribers.deliver(view.user_id, Delivery::Event(event)),
                Err(error) => tracing::error!(%error, "cannot serialize an event"),
            }
        }
    }

    fn report_deleted(&self, run_id: Uuid) {
        if let Some(entry) = self.waiting().get(&run_id) {
            entry.outcome.send_replace(Some(Outcome::Deleted));
            self.0
                .subscribers
                .deliver(entry.user_id, Delivery::Deleted(run_id));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.waiting.lock()
    }
}

impl Wait {
    /// Records that the run's row was committed. From now on, a missing row ends the wait.
    pub(crate) fn mark_stored(&self) {
        if let Some(entry) = self.waiter.waiting().get_mut(&self.run_id) {
            entry.stored = true;
        }
    }

    /// Waits until the run finishes, is deleted, or needs approval since an epoch after `seen_epoch`.
    pub(crate) async fn change(&mut self, seen_epoch: i32) -> Change {
        let finished = async {
            let outcome = self.outcome.wait_for(Option::is_some).await;
            outcome.map(|outcome| outcome.clone())
        };
        let approval = async {
            let newer = self.approval_epoch.wait_for(|epoch| *epoch > seen_epoch);
            if newer.await.is_err() {
                // A newer entry has replaced this one and receives the reports.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            outcome = finished => Change::Finished(match outcome {
                Ok(Some(outcome)) => outcome,
                // Unreachable: this wait keeps the sender alive.
                Ok(None) | Err(_) => Outcome::Deleted,
            }),
            () = approval => Change::AwaitingApproval,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waiting = self.waiter.waiting();
        let Some(entry) = waiting.get_mut(&self.run_id) else {
            return;
        };
        // A newer entry may have replaced the one of this wait.
        if !Arc::ptr_eq(&entry.outcome, &self.sender) {
            return;
        }
        entry.waits -= 1;
        if entry.waits == 0 {
            waiting.remove(&self.run_id);
        }
    }
}

async fn poll(waiter: Waiter, pool: Pool, interval: Duration, clock: Clock) {
    loop {
        let pause = if waiter.is_connected() {
            interval * CONNECTED_FACTOR
        } else {
            interval
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = waiter.0.poll_now.notified() => {}
        }
        let waits: Vec<_> = waiter
            .waiting()
            .iter()
            .map(|(run_id, entry)| (*run_id, entry.stored))
            .collect();
        for page in waits.chunks(PAGE) {
            if let Err(error) = poll_page(&waiter, &pool, page, clock.now()).await {
                tracing::warn!(%error, "cannot read the runs that requests wait for");
                break;
            }
        }
    }
}

async fn poll_page(
    waiter: &Waiter,
    pool: &Pool,
    waits: &[(Uuid, bool)],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let run_ids: Vec<_> = waits.iter().map(|(run_id, _)| *run_id).collect();
    for view in runs::views(pool, &run_ids, true).await? {
        if view.response.status == RunStatus::WaitingApproval {
            waiter.report_polled_approval(&view, now);
        } else if let Some(end) = view.into_end() {
            waiter.report_finished(end);
        }
    }
    let stored: Vec<_> = waits
        .iter()
        .filter(|(_, stored)| *stored)
        .map(|(run_id, _)| *run_id)
        .collect();
    for run_id in runs::missing(pool, &stored).await? {
        waiter.report_deleted(run_id);
    }
    Ok(())
}
