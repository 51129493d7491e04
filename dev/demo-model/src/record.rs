//! What the server has seen: a bounded ring of requests, and counters that tests can wait on.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::body::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use crate::wire::ChatRequest;

/// A request that reached the server.
#[derive(Debug)]
pub struct Recorded {
    /// Its number, counted from 1.
    pub number: u64,
    /// The path it was sent to.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body as it came.
    pub raw: Bytes,
    /// The body as parsed; nothing where it was no chat request at all.
    pub request: Option<ChatRequest>,
    /// Why the request was refused, if it was.
    pub rejected: Option<String>,
}

impl Recorded {
    /// The body as JSON, `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap_or_default()
    }
}

/// How many requests there were and are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests received since the start.
    pub received: u64,
    /// Requests that are being answered, or waiting for it.
    pub in_flight: u64,
}

/// The ring and the counters.
#[derive(Debug)]
pub(crate) struct Recorder {
    keep: usize,
    ring: Mutex<VecDeque<Arc<Recorded>>>,
    counts: watch::Sender<Counts>,
}

impl Recorder {
    /// A recorder that keeps the last `keep` requests.
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            keep,
            ring: Mutex::default(),
            counts: watch::Sender::new(Counts::default()),
        }
    }

    /// Counts a request in; it is counted out when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let mut number = 0;
        self.counts.send_modify(|counts| {
            counts.in_flight += 1;
            counts.received += 1;
            number = counts.received;
        });
        InFlight {
            recorder: Arc::clone(self),
            number,
        }
    }

    /// Whether requests are kept at all.
    pub(crate) fn keeps(&self) -> bool {
        self.keep > 0
    }

    /// Keeps a request, and drops the oldest when the ring is full.
    pub(crate) fn push(&self, recorded: Arc<Recorded>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= self.keep {
            ring.pop_front();
        }
        ring.push_back(recorded);
    }

    /// What is kept, oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<Recorded>> {
        self.ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// Forgets what is kept; the counters go on.
    pub(crate) fn clear(&self) {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The counters now.
    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until `done` holds of the counters.
    pub(crate) async fn wait(&self, done: impl Fn(&Counts) -> bool + Send + Sync) {
        let mut counts = self.counts.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        drop(counts.wait_for(|now| done(now)).await);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight {
    recorder: Arc<Recorder>,
    /// The request's number.
    pub(crate) number: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.recorder.counts.send_modify(|counts| counts.in_flight -= 1);
    }
}
