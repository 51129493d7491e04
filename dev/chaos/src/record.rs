//! What the clients were promised, and which promises were broken.

use std::sync::{Mutex, PoisonError};

use errand_shared::Uuid;
use serde::Serialize;
use serde_json::Value;

use crate::reader::Seen;

/// One message that a client sent, and what it was told.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Whose it is.
    pub(crate) user: Uuid,
    /// The text; no other message has the same.
    pub(crate) text: String,
    /// The title of the task that it asks for, if it does.
    pub(crate) task: Option<String>,
    /// The idempotency key, the same for every try.
    pub(crate) key: String,
    /// The agent that is chosen if the message is the first of its conversation; the default one if none.
    pub(crate) agent: Option<&'static str>,
    /// The conversation, once it is known.
    pub(crate) conversation: Option<Uuid>,
    /// Place among the conversation's messages, as sent.
    pub(crate) place: usize,
    /// The run that was promised (200, 202, or an ended one).
    pub(crate) run: Option<Uuid>,
    /// The final answer, if one was given and no retry has followed.
    pub(crate) answer: Option<Value>,
    /// Whether its cancel was asked for.
    pub(crate) cancel_asked: bool,
    /// Whether its cancel was accepted (202) and no retry has followed.
    pub(crate) cancel_accepted: bool,
    /// What was read of its run's events.
    pub(crate) seen: Seen,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Violation {
    /// Which promise, in words.
    pub(crate) what: &'static str,
    /// Whose: ids and figures.
    pub(crate) detail: String,
}

/// What was sent and what was broken, shared by all clients.
#[derive(Debug, Default)]
pub(crate) struct Record {
    sent: Mutex<Vec<Sent>>,
    violations: Mutex<Vec<Violation>>,
}

impl Record {
    pub(crate) fn sent(&self, sent: Sent) {
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sent);
    }

    pub(crate) fn all(&self) -> Vec<Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn broken(&self, what: &'static str, detail: impl Into<String>) {
        let violation = Violation {
            what,
            detail: detail.into(),
        };
        crate::say::say(&format!("  BROKEN: {}: {}", violation.what, violation.detail));
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(violation);
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut violations = self
            .violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        violations.sort();
        violations.dedup();
        violations
    }
}
