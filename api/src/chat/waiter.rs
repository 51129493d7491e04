//! Who waits for which run. One subscription to the news serves any number of waiting requests; a slow look in Postgres
//! finds what the news has missed, also for those who read events.
//!
//! A waiting request costs one map entry and one future: no connection, no poll of its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use errand_shared::storage::Pool;
use errand_shared::{
    Uuid,
    domain::{clock::Clock, events::RunEnd, run::RunStatus},
    service::lifecycle::Lifecycle,
    storage::runs::{self, RunView},
};
use tokio::sync::{Notify, watch};

use crate::live::{Delivery, LiveEvent, Subscribers};

/// Runs read in one query, at most.
const PAGE: usize = 1000;
/// How much slower Postgres is looked at while Redis tells the news.
const SLOWER: u32 = 5;

/// What a wait has come to.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The run is final, or gone.
    Ended(Outcome),
    /// The run waits for its user.
    Parked,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The run is final.
    Final(Arc<RunEnd>),
    /// The run is no longer there: its conversation was deleted.
    Gone,
}

/// The requests that wait; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Waiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    readers: Subscribers,
    waiting: Mutex<HashMap<Uuid, Entry>>,
    told: AtomicBool,
    look: Notify,
}

#[derive(Debug)]
struct Entry {
    user_id: Uuid,
    outcome: Arc<watch::Sender<Option<Outcome>>>,
    /// The last epoch in which the run is known to have been parked; -1 if there is none.
    parked: watch::Sender<i32>,
    /// Waits on this entry.
    waits: usize,
    /// Whether the run is known to be stored, so that its absence means something.
    stored: bool,
}

/// A wait for one run, given up when dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    waiter: Waiter,
    run_id: Uuid,
    outcome: watch::Receiver<Option<Outcome>>,
    parked: watch::Receiver<i32>,
    sender: Arc<watch::Sender<Option<Outcome>>>,
}

impl Waiter {
    /// Nobody waits yet; the readers hear of every end that is found.
    pub(crate) fn new(readers: Subscribers) -> Self {
        Self(Arc::new(Shared {
            readers,
            waiting: Mutex::default(),
            told: AtomicBool::new(false),
            look: Notify::new(),
        }))
    }

    /// Begins to wait for a run of this user. What happens to it from now on is not missed; what was before must be read.
    pub(crate) fn wait_for(&self, user_id: Uuid, run_id: Uuid) -> Wait {
        let fresh = || Entry {
            user_id,
            outcome: Arc::new(watch::Sender::new(None)),
            parked: watch::Sender::new(-1),
            waits: 0,
            stored: false,
        };
        let mut waiting = self.waiting();
        let entry = waiting.entry(run_id).or_insert_with(fresh);
        // An end that was told before may be one that a retry has taken back.
        if entry.outcome.borrow().is_some() {
            *entry = fresh();
        }
        entry.waits += 1;
        let sender = Arc::clone(&entry.outcome);
        let parked = entry.parked.subscribe();
        drop(waiting);
        Wait {
            waiter: self.clone(),
            run_id,
            outcome: sender.subscribe(),
            parked,
            sender,
        }
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting().values().map(|entry| entry.waits).sum()
    }

    /// Whether the news is being heard.
    pub(crate) fn is_told(&self) -> bool {
        self.0.told.load(Ordering::Relaxed)
    }

    /// Looks in Postgres until the process stops.
    pub(crate) fn start(&self, pool: Pool, sweep: Duration, clock: Clock, lifecycle: &Lifecycle) {
        lifecycle.spawn_until_stopped(look(self.clone(), pool, sweep, clock));
    }

    /// Says that the news is being heard: what was told before is looked for.
    pub(crate) fn is_hearing(&self) {
        self.0.told.store(true, Ordering::Relaxed);
        self.0.look.notify_one();
    }

    /// Says that the news is not heard any more, and tells whether it was.
    pub(crate) fn is_deaf(&self) -> bool {
        self.0.told.swap(false, Ordering::Relaxed)
    }

    /// Whether somebody waits for this run.
    pub(crate) fn has(&self, run_id: Uuid) -> bool {
        self.waiting().contains_key(&run_id)
    }

    /// Tells of a run that has ended, to who waits for it and who reads it.
    pub(crate) fn tell_end(&self, end: RunEnd) {
        if self.0.readers.has(end.user_id) {
            match LiveEvent::of_end(&end) {
                Ok(event) => self.0.readers.deliver(end.user_id, Delivery::Event(event)),
                Err(error) => tracing::error!(%error, "a final event could not be written"),
            }
        }
        if let Some(entry) = self.waiting().get(&end.response.run_id) {
            let outcome = Arc::clone(&entry.outcome);
            outcome.send_replace(Some(Outcome::Final(Arc::new(end))));
        }
    }

    /// Tells that a run waits for its user since this epoch, to who waits for it.
    pub(crate) fn tell_parked(&self, run_id: Uuid, epoch: i32) {
        if let Some(entry) = self.waiting().get(&run_id) {
            entry.parked.send_if_modified(|known| {
                let is_news = *known < epoch;
                *known = epoch.max(*known);
                is_news
            });
        }
    }

    /// The same as it was read, to who waits and who reads.
    fn tell_waiting(&self, view: &RunView, at: DateTime<Utc>) {
        self.tell_parked(view.response.run_id, view.epoch);
        if !self.0.readers.has(view.user_id) {
            return;
        }
        for event in view.requests(at) {
            match LiveEvent::new(&event) {
                Ok(event) => self.0.readers.deliver(view.user_id, Delivery::Event(event)),
                Err(error) => tracing::error!(%error, "an event could not be written"),
            }
        }
    }

    fn tell_gone(&self, run_id: Uuid) {
        if let Some(entry) = self.waiting().get(&run_id) {
            entry.outcome.send_replace(Some(Outcome::Gone));
            self.0.readers.deliver(entry.user_id, Delivery::Gone(run_id));
        }
    }

    /// No code that panics runs under the lock, so a poisoned one is as good as any.
    fn waiting(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// Says that the run is known to be stored: from now on its absence ends the wait.
    pub(crate) fn is_stored(&self) {
        if let Some(entry) = self.waiter.waiting().get_mut(&self.run_id) {
            entry.stored = true;
        }
    }

    /// Ends when the run has, or when it has been parked after the epoch in which it was seen last.
    pub(crate) async fn change(&mut self, seen: i32) -> Change {
        let ended = async {
            let outcome = self.outcome.wait_for(Option::is_some).await;
            outcome.map(|outcome| outcome.clone())
        };
        let parked = async {
            if self.parked.wait_for(|epoch| *epoch > seen).await.is_err() {
                // Another entry has taken the place of this one, and hears the news.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            outcome = ended => Change::Ended(match outcome {
                Ok(Some(outcome)) => outcome,
                // The sender lives as long as any wait does.
                Ok(None) | Err(_) => Outcome::Gone,
            }),
            () = parked => Change::Parked,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waiting = self.waiter.waiting();
        let Some(entry) = waiting.get_mut(&self.run_id) else {
            return;
        };
        // Another entry has taken the place of one that was told.
        if !Arc::ptr_eq(&entry.outcome, &self.sender) {
            return;
        }
        entry.waits -= 1;
        if entry.waits == 0 {
            waiting.remove(&self.run_id);
        }
    }
}

async fn look(waiter: Waiter, pool: Pool, sweep: Duration, clock: Clock) {
    loop {
        let distance = if waiter.is_told() { sweep * SLOWER } else { sweep };
        tokio::select! {
            () = tokio::time::sleep(distance) => {}
            () = waiter.0.look.notified() => {}
        }
        let waits: Vec<_> = waiter
            .waiting()
            .iter()
            .map(|(run_id, entry)| (*run_id, entry.stored))
            .collect();
        for page in waits.chunks(PAGE) {
            if let Err(error) = look_at(&waiter, &pool, page, clock.now()).await {
                tracing::warn!(%error, "waited-for runs could not be read");
                break;
            }
        }
    }
}

async fn look_at(
    waiter: &Waiter,
    pool: &Pool,
    waits: &[(Uuid, bool)],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let run_ids: Vec<_> = waits.iter().map(|(run_id, _)| *run_id).collect();
    for view in runs::views(pool, &run_ids, true).await? {
        if view.response.status == RunStatus::WaitingApproval {
            waiter.tell_waiting(&view, now);
        } else if let Some(end) = view.into_end() {
            waiter.tell_end(end);
        }
    }
    let stored: Vec<_> = waits
        .iter()
        .filter(|(_, stored)| *stored)
        .map(|(run_id, _)| *run_id)
        .collect();
    for run_id in runs::missing(pool, &stored).await? {
        waiter.tell_gone(run_id);
    }
    Ok(())
}
