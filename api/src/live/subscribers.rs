//! Delivers events to subscribers: one broadcast channel per user, in which every subscriber has its own position.
//!
//! A subscriber that falls too far behind is disconnected. It never delays other subscribers.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use errand_shared::Uuid;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, broadcast, watch};

use super::event::LiveEvent;

/// What a subscriber receives.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    /// An event of one of the user's runs.
    Event(Arc<LiveEvent>),
    /// The conversation of this run was deleted.
    Deleted(Uuid),
    /// Events may have been missed; the subscriber must read the current state.
    Resync,
}

/// All subscribers of this process. Cheap to clone.
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
    /// Users whose channel was created or removed since the last [`Subscribers::take_changes`].
    touched: HashSet<Uuid>,
}

#[derive(Debug)]
struct Channel {
    sender: broadcast::Sender<Delivery>,
    subscribed: watch::Sender<bool>,
    count: usize,
}

/// One subscriber. Unsubscribes when dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    subscribers: Subscribers,
    user_id: Uuid,
    receiver: broadcast::Receiver<Delivery>,
    subscribed: watch::Receiver<bool>,
}

/// Necessary changes to the Redis subscriptions.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) subscribe: Vec<Uuid>,
    pub(super) unsubscribe: Vec<Uuid>,
}

impl Subscribers {
    /// Each subscriber may fall at most `buffer` events behind.
    pub(crate) fn new(buffer: usize) -> Self {
        Self(Arc::new(Shared {
            buffer,
            state: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Subscribes to all events of a user. No event is missed after [`Subscription::wait_until_active`].
    pub(crate) fn subscribe(&self, user_id: Uuid) -> Subscription {
        let mut guard = self.state();
        let State { channels, touched } = &mut *guard;
        let channel = channels.entry(user_id).or_insert_with(|| {
            touched.insert(user_id);
            self.0.changed.notify_one();
            Channel {
                sender: broadcast::Sender::new(self.0.buffer),
                subscribed: watch::Sender::new(false),
                count: 0,
            }
        });
        channel.count += 1;
        let (receiver, subscribed) = (channel.sender.subscribe(), channel.subscribed.subscribe());
        drop(guard);
        Subscription {
            subscribers: self.clone(),
            user_id,
            receiver,
            subscribed,
        }
    }

    /// Whether this user has subscribers in this process.
    pub(crate) fn has(&self, user_id: Uuid) -> bool {
        self.state().channels.contains_key(&user_id)
    }

    /// Delivers to all subscribers of a user.
    pub(crate) fn deliver(&self, user_id: Uuid, delivery: Delivery) {
        if let Some(channel) = self.state().channels.get(&user_id) {
            // Fails only if the last subscriber has just left.
            drop(channel.sender.send(delivery));
        }
    }

    /// Waits until [`Self::take_changes`] has something to return.
    pub(super) async fn wait_for_changes(&self) {
        self.0.changed.notified().await;
    }

    /// Updates `subscribed` and returns the changes that this requires in Redis.
    pub(super) fn take_changes(&self, subscribed: &mut HashSet<Uuid>) -> Changes {
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

    /// Records that the Redis subscriptions of these users are active.
    pub(super) fn mark_connected(&self, users: &[Uuid]) {
        let state = self.state();
        for channel in users.iter().filter_map(|user_id| state.channels.get(user_id)) {
            channel.subscribed.send_replace(true);
        }
    }

    /// Records that Redis was disconnected, so that every channel must be subscribed again.
    pub(super) fn mark_disconnected(&self) {
        let mut guard = self.state();
        let State { channels, touched } = &mut *guard;
        for (user_id, channel) in channels {
            channel.subscribed.send_replace(false);
            touched.insert(*user_id);
        }
        self.0.changed.notify_one();
    }

    /// Informs the subscribers of these users that they may have missed events.
    pub(super) fn resync(&self, users: &[Uuid]) {
        for user_id in users {
            self.deliver(*user_id, Delivery::Resync);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl Subscription {
    /// Waits for at most `timeout` until the Redis subscription is active. If that takes longer, a [`Delivery::Resync`] follows
    /// once it is.
    pub(crate) async fn wait_until_active(&mut self, timeout: Duration) -> bool {
        let active = self.subscribed.wait_for(|subscribed| *subscribed);
        matches!(tokio::time::timeout(timeout, active).await, Ok(Ok(_)))
    }

    /// The next delivery. None if the subscriber has fallen too far behind.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        // The sender lives as long as any subscriber, so the only possible error is the lag.
        self.receiver.recv().await.ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut guard = self.subscribers.state();
        let State { channels, touched } = &mut *guard;
        let Some(channel) = channels.get_mut(&self.user_id) else {
            return;
        };
        channel.count -= 1;
        if channel.count == 0 {
            channels.remove(&self.user_id);
            touched.insert(self.user_id);
            self.subscribers.0.changed.notify_one();
        }
    }
}
