//! Who reads whose events: one channel a user, of which every reader has its own place in a bounded buffer.
//!
//! A reader that is too slow loses its place and nobody else is delayed by it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use errand_shared::Uuid;
use tokio::sync::{Notify, broadcast, watch};

use super::LiveEvent;

/// What comes to a reader.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    /// An event of one of the user's runs.
    Event(Arc<LiveEvent>),
    /// A run is no longer there: its conversation was deleted.
    Gone(Uuid),
    /// Events may have been missed: look where things stand.
    Resync,
}

/// The readers of an API process; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Subscribers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    buffer: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    channels: HashMap<Uuid, Channel>,
    /// Users whose channel was made or given up since the subscriptions were last brought up to date.
    touched: HashSet<Uuid>,
}

#[derive(Debug)]
struct Channel {
    live: broadcast::Sender<Delivery>,
    subscribed: watch::Sender<bool>,
    readers: usize,
}

/// A reader's place, given up when dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    readers: Subscribers,
    user_id: Uuid,
    live: broadcast::Receiver<Delivery>,
    subscribed: watch::Receiver<bool>,
}

/// What is to be changed in the subscriptions.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<Uuid>,
    pub(super) unsubscribe: Vec<Uuid>,
}

impl Subscribers {
    /// Nobody reads yet; each reader may fall `buffer` events behind.
    pub(crate) fn new(buffer: usize) -> Self {
        Self(Arc::new(Shared {
            buffer,
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Begins to read. What is told of the user's runs from now on is not missed, once [`Subscription::is_heard`].
    pub(crate) fn read(&self, user_id: Uuid) -> Subscription {
        let mut guard = self.state();
        let State { channels, touched } = &mut *guard;
        let channel = channels.entry(user_id).or_insert_with(|| {
            touched.insert(user_id);
            self.0.changed.notify_one();
            Channel {
                live: broadcast::Sender::new(self.0.buffer),
                subscribed: watch::Sender::new(false),
                readers: 0,
            }
        });
        channel.readers += 1;
        let (live, subscribed) = (channel.live.subscribe(), channel.subscribed.subscribe());
        drop(guard);
        Subscription {
            readers: self.clone(),
            user_id,
            live,
            subscribed,
        }
    }

    /// Whether anybody reads this user's events here.
    pub(crate) fn has(&self, user_id: Uuid) -> bool {
        self.state().channels.contains_key(&user_id)
    }

    /// Tells a user's readers.
    pub(crate) fn deliver(&self, user_id: Uuid, live: Delivery) {
        if let Some(channel) = self.state().channels.get(&user_id) {
            // Nobody to hear it is no fault.
            drop(channel.live.send(live));
        }
    }

    /// Ends when [`Self::changes`] has something to tell.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Brings `subscribed` up to date and tells what is to be done for that.
    pub(super) fn changes(&self, subscribed: &mut HashSet<Uuid>) -> Changes {
        let mut guard = self.state();
        let State { channels, touched } = &mut *guard;
        let mut changes = Changes::default();
        for user_id in touched.drain() {
            match channels.get(&user_id) {
                Some(channel) => {
                    if subscribed.insert(user_id) {
                        changes.subscribe.push(user_id);
                    } else {
                        channel.subscribed.send_replace(true);
                    }
                }
                None if subscribed.remove(&user_id) => changes.unsubscribe.push(user_id),
                None => {}
            }
        }
        changes
    }

    /// Says that these users' channels are heard.
    pub(super) fn are_heard(&self, users: &[Uuid]) {
        let state = self.state();
        for channel in users.iter().filter_map(|user_id| state.channels.get(user_id)) {
            channel.subscribed.send_replace(true);
        }
    }

    /// Says that nothing is heard any more, and that every channel is to be subscribed again.
    pub(super) fn are_deaf(&self) {
        let mut guard = self.state();
        let State { channels, touched } = &mut *guard;
        for (user_id, channel) in channels {
            channel.subscribed.send_replace(false);
            touched.insert(*user_id);
        }
        self.0.changed.notify_one();
    }

    /// Says to these users' readers that they may have missed something.
    pub(super) fn resync(&self, users: &[Uuid]) {
        for user_id in users {
            self.deliver(*user_id, Delivery::Resync);
        }
    }

    /// No code that panics runs under the lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Waits until the user's events are heard, at most so long; after that [`Delivery::Resync`] tells when they are.
    pub(crate) async fn is_heard(&mut self, patience: Duration) -> bool {
        let heard = self.subscribed.wait_for(|subscribed| *subscribed);
        matches!(tokio::time::timeout(patience, heard).await, Ok(Ok(_)))
    }

    /// What comes next. None if the reader has fallen too far behind.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        // The sender lives as long as any reader does, so that the only fault is the other one.
        self.live.recv().await.ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut guard = self.readers.state();
        let State { channels, touched } = &mut *guard;
        let Some(channel) = channels.get_mut(&self.user_id) else {
            return;
        };
        channel.readers -= 1;
        if channel.readers == 0 {
            channels.remove(&self.user_id);
            touched.insert(self.user_id);
            self.readers.0.changed.notify_one();
        }
    }
}
