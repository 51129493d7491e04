//! Records what clients sent and which responses they received, and the violations.

use std::sync::{Mutex, MutexGuard, PoisonError};

use errand_devstack::print;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::reader::Seen;

/// A message that a client sent, with the responses to it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) user: Uuid,
    /// The text, which is unique.
    pub(crate) text: String,
    /// The title of the task that the message asks for.
    pub(crate) task: Option<String>,
    /// The idempotency key, the same for every attempt.
    pub(crate) key: String,
    /// The agent that the first message of a conversation chooses; `None` for the default.
    pub(crate) agent: Option<&'static str>,
    /// The conversation, once it is known.
    pub(crate) conversation: Option<Uuid>,
    /// The index among the messages that were sent to the conversation.
    pub(crate) position: usize,
    /// The run in a response.
    pub(crate) run: Option<Uuid>,
    /// The final response, unless a retry followed.
    pub(crate) answer: Option<Value>,
    pub(crate) cancel_requested: bool,
    /// Whether a cancellation was accepted (202) and no retry followed.
    pub(crate) cancel_accepted: bool,
    /// The events of the run that were received.
    pub(crate) seen: Seen,
}

/// A broken guarantee.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Violation {
    /// The guarantee.
    pub(crate) guarantee: &'static str,
    /// The ids and figures.
    pub(crate) detail: String,
}

/// Shared by all clients.
#[derive(Debug, Default)]
pub(crate) struct Record {
    sent: Mutex<Vec<Sent>>,
    violations: Mutex<Vec<Violation>>,
}

impl Record {
    pub(crate) fn add(&self, sent: Sent) {
        lock(&self.sent).push(sent);
    }

    pub(crate) fn all(&self) -> Vec<Sent> {
        lock(&self.sent).clone()
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.sent).len()
    }

    pub(crate) fn violation(&self, guarantee: &'static str, detail: impl Into<String>) {
        let violation = Violation {
            guarantee,
            detail: detail.into(),
        };
        print::line(&format!(
            "  VIOLATION: {}: {}",
            violation.guarantee, violation.detail
        ));
        lock(&self.violations).push(violation);
    }

    /// All violations, sorted and without duplicates.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut violations = lock(&self.violations).clone();
        violations.sort();
        violations.dedup();
        violations
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
