//! Who waits for which run. One subscription to the news serves any number of waiting requests; a slow look in Postgres
//! finds what the news has missed.
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

use backon::{BackoffBuilder, ExponentialBuilder};
use errand_shared::db::Pool;
use errand_shared::{
    Uuid, chat::ChatResponse, db::runs, finals, lifecycle::Lifecycle, redis_client::RedisClient,
};
use futures::StreamExt;
use tokio::sync::{Notify, watch};

/// Runs read in one query, at most.
const PAGE: usize = 1000;
/// How much slower Postgres is looked at while Redis tells the news.
const SLOWER: u32 = 5;

/// How a wait ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The run is final.
    Final(Arc<ChatResponse>),
    /// The run is no longer there: its conversation was deleted.
    Gone,
}

/// The requests that wait; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<HashMap<Uuid, Entry>>,
    told: AtomicBool,
    look: Notify,
}

#[derive(Debug)]
struct Entry {
    outcome: Arc<watch::Sender<Option<Outcome>>>,
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
    sender: Arc<watch::Sender<Option<Outcome>>>,
}

impl Waiter {
    /// Begins to wait. What happens to the run from now on is not missed; what was before must be read.
    pub(crate) fn wait_for(&self, run_id: Uuid) -> Wait {
        let fresh = || Entry {
            outcome: Arc::new(watch::Sender::new(None)),
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
        drop(waiting);
        Wait {
            waiter: self.clone(),
            run_id,
            outcome: sender.subscribe(),
            sender,
        }
    }

    /// Whether the news is being heard.
    pub(crate) fn is_told(&self) -> bool {
        self.0.told.load(Ordering::Relaxed)
    }

    /// Listens to the news and looks in Postgres, until the process stops.
    pub(crate) fn start(&self, redis: RedisClient, pool: Pool, sweep: Duration, lifecycle: &Lifecycle) {
        lifecycle.spawn_until_stopped(listen(self.clone(), redis));
        lifecycle.spawn_until_stopped(look(self.clone(), pool, sweep));
    }

    fn tell(&self, run_id: Uuid, outcome: impl FnOnce() -> Option<Outcome>) {
        // Decoded outside the lock, and only for runs that somebody waits for.
        let Some(sender) = self
            .waiting()
            .get(&run_id)
            .map(|entry| Arc::clone(&entry.outcome))
        else {
            return;
        };
        if let Some(outcome) = outcome() {
            sender.send_replace(Some(outcome));
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

    /// Ends when the run has.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        match self
            .outcome
            .wait_for(Option::is_some)
            .await
            .map(|outcome| outcome.clone())
        {
            Ok(Some(outcome)) => outcome,
            // The sender lives as long as any wait does.
            Ok(None) | Err(_) => Outcome::Gone,
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

async fn listen(waiter: Waiter, redis: RedisClient) {
    let patience = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter();
    let mut pauses = patience.build();
    loop {
        match hear(&waiter, &redis).await {
            Ok(()) => tracing::warn!("the news ended; subscribing again"),
            Err(error) => tracing::warn!(%error, "the news can't be heard; subscribing again"),
        }
        if waiter.0.told.swap(false, Ordering::Relaxed) {
            pauses = patience.build();
        }
        tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(2))).await;
    }
}

async fn hear(waiter: &Waiter, redis: &RedisClient) -> Result<(), redis::RedisError> {
    let mut subscriber = redis.subscriber().await?;
    subscriber.subscribe(redis.finals_channel()).await?;
    waiter.0.told.store(true, Ordering::Relaxed);
    // What was told while nobody listened.
    waiter.0.look.notify_one();
    let mut news = subscriber.on_message();
    while let Some(message) = news.next().await {
        if let Some((run_id, answer)) = finals::split(message.get_payload_bytes()) {
            waiter.tell(run_id, || match serde_json::from_slice(answer) {
                Ok(response) => Some(Outcome::Final(Arc::new(response))),
                Err(error) => {
                    tracing::warn!(%error, run.id = %run_id, "news that can't be read");
                    None
                }
            });
        }
    }
    Ok(())
}

async fn look(waiter: Waiter, pool: Pool, sweep: Duration) {
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
            if let Err(error) = look_at(&waiter, &pool, page).await {
                tracing::warn!(%error, "waited-for runs could not be read");
                break;
            }
        }
    }
}

async fn look_at(waiter: &Waiter, pool: &Pool, waits: &[(Uuid, bool)]) -> Result<(), sqlx::Error> {
    let run_ids: Vec<_> = waits.iter().map(|(run_id, _)| *run_id).collect();
    for (_, response) in runs::responses(pool, &run_ids, true).await? {
        let run_id = response.run_id;
        waiter.tell(run_id, || Some(Outcome::Final(Arc::new(response))));
    }
    let stored: Vec<_> = waits
        .iter()
        .filter(|(_, stored)| *stored)
        .map(|(run_id, _)| *run_id)
        .collect();
    for run_id in runs::missing(pool, &stored).await? {
        waiter.tell(run_id, || Some(Outcome::Gone));
    }
    Ok(())
}
