//! What the notifier reports back about the events of one lease.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::sync::Notify;

/// Whether any client subscribes to a run's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasSubscribers {
    /// Redis has not answered yet.
    Unknown,
    /// No API instance received the last event.
    No,
    /// At least one API instance received the last event, or a client has just subscribed.
    Yes,
}

/// The delivery state of one lease's events. The notifier writes it, the run that publishes the events reads it.
#[derive(Debug, Default)]
pub struct DeliveryState {
    /// The discriminant of [`HasSubscribers`].
    subscribers: AtomicU8,
    stale: AtomicBool,
    log_missing: AtomicBool,
    closed: AtomicBool,
    changed: Notify,
}

impl DeliveryState {
    /// Whether any client subscribes to the run's events, as far as is known.
    pub fn has_subscribers(&self) -> HasSubscribers {
        match self.subscribers.load(Ordering::Relaxed) {
            0 => HasSubscribers::Unknown,
            1 => HasSubscribers::No,
            _ => HasSubscribers::Yes,
        }
    }

    /// Records that a client has subscribed.
    pub fn mark_subscribed(&self) {
        self.subscribers
            .store(HasSubscribers::Yes as u8, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Records that the event log may lack the run's current text.
    pub fn mark_stale(&self) {
        self.stale.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether the event log may lack a published event. Resets the answer.
    pub fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::Relaxed)
    }

    /// Whether the event log did not exist. Resets the answer.
    pub fn take_log_missing(&self) -> bool {
        self.log_missing.swap(false, Ordering::Relaxed)
    }

    /// Whether the lease has ended, so that nothing more may be published under it.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Records that the lease has ended.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Completes [`Self::changed`] although nothing here has changed, because the run has an event to publish.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Completes when the state has changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Records that the run has no event log.
    pub(super) fn mark_log_missing(&self) {
        self.log_missing.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Records how many API instances received an event.
    pub(super) fn set_receivers(&self, receivers: i64) {
        let subscribers = if receivers > 0 {
            HasSubscribers::Yes
        } else {
            HasSubscribers::No
        } as u8;
        if self.subscribers.swap(subscribers, Ordering::Relaxed) != subscribers {
            self.changed.notify_one();
        }
    }

    /// Records that an event was lost. A client that subscribes or reconnects later asks for the text again.
    pub(super) fn mark_lost(&self) {
        self.subscribers
            .store(HasSubscribers::No as u8, Ordering::Relaxed);
        self.stale.store(true, Ordering::Relaxed);
    }
}
