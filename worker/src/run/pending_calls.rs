//! The calls of a deferred step that have no result yet, with the user's decisions.

use std::collections::HashMap;

use errand_agent::PlannedCall;
use errand_shared::storage::{Pool, journal::pending_calls::PendingCall, queue::claims::Lease};
use errand_task_tools::ToolOutcome;
use tokio::time::Instant;

/// The recorded calls of a run's last step that have no result, by their index in the step.
#[derive(Debug, Default)]
pub(crate) struct PendingCalls<'a>(HashMap<i16, &'a PendingCall>);

impl<'a> PendingCalls<'a> {
    /// The pending calls that the claim returned.
    pub(crate) fn of(lease: &'a Lease) -> Self {
        let last = lease.journal.last();
        let calls = last.map(|step| step.pending.as_slice()).unwrap_or_default();
        Self(calls.iter().map(|call| (call.index, call)).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The result of a call that must not be made because its user has declined it or has not decided in time. `None` if it may be
    /// made. When a run continues, the time to decide is over.
    pub(crate) fn denied(&self, call: &PlannedCall) -> Option<ToolOutcome> {
        let pending = self
            .0
            .get(&call_index(call))
            .filter(|pending| pending.needs_approval)?;
        match pending.approved {
            Some(true) => None,
            Some(false) => Some(errand_task_tools::declined()),
            None => Some(errand_task_tools::approval_expired()),
        }
    }

    /// Whether an earlier attempt has started the call.
    pub(crate) fn was_started(&self, call: &PlannedCall) -> bool {
        self.0
            .get(&call_index(call))
            .is_some_and(|pending| pending.started)
    }
}

/// Which recorded step calls belong to, and under which lease they are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordedStep<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) lease: &'a Lease,
    pub(crate) step: i16,
    pub(crate) pending: &'a PendingCalls<'a>,
    /// The run's deadline.
    pub(crate) deadline: Instant,
}

/// A call's index in its step. The agent's limits keep it small.
pub(crate) fn call_index(call: &PlannedCall) -> i16 {
    i16::try_from(call.index).unwrap_or(i16::MAX)
}
