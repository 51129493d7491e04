//! Recorded requests, in a bounded buffer, and counters that tests can wait for.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::body::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use crate::wire::ChatRequest;

/// A request that the server received, valid or not.
#[derive(Debug)]
pub struct RecordedRequest {
    /// Position in the order of arrival, from 1.
    pub number: u64,
    /// URL path.
    pub path: String,
    /// `Authorization` header.
    pub authorization: Option<String>,
    /// Unparsed body.
    pub raw: Bytes,
    /// Parsed body, or `None` if it is not a chat request.
    pub request: Option<ChatRequest>,
    /// Reason for the 400 response, if the request was invalid.
    pub rejected: Option<String>,
}

impl RecordedRequest {
    /// The body as JSON; `null` if it isn't JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap_or_default()
    }
}

/// Numbers of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests received since the server started.
    pub received: u64,
    /// Requests that have not been answered yet.
    pub in_flight: u64,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    capacity: usize,
    requests: Mutex<VecDeque<Arc<RecordedRequest>>>,
    counts: watch::Sender<Counts>,
}

impl Recorder {
    /// Records the last `capacity` requests; 0 records none.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            requests: Mutex::default(),
            counts: watch::Sender::new(Counts::default()),
        }
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn start_request(self: &Arc<Self>) -> InFlight {
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

    pub(crate) fn is_enabled(&self) -> bool {
        self.capacity > 0
    }

    /// Adds a request and drops the oldest if the buffer is full.
    pub(crate) fn push(&self, recorded: Arc<RecordedRequest>) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() >= self.capacity {
            requests.pop_front();
        }
        requests.push_back(recorded);
    }

    /// The recorded requests, oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<RecordedRequest>> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// Deletes the recorded requests. Counters keep their values.
    pub(crate) fn clear(&self) {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counters satisfy `done`.
    pub(crate) async fn wait(&self, done: impl Fn(&Counts) -> bool + Send + Sync) {
        let mut counts = self.counts.subscribe();
        // Cannot fail: `self` owns the sender.
        drop(counts.wait_for(|now| done(now)).await);
    }
}

/// Guard of a request that has not been answered yet.
#[derive(Debug)]
pub(crate) struct InFlight {
    recorder: Arc<Recorder>,
    pub(crate) number: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.recorder.counts.send_modify(|counts| counts.in_flight -= 1);
    }
}
