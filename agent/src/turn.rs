//! The history of a run: earlier runs of the conversation, and committed steps of earlier attempts.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::PlannedCall;

/// A tool call with its recorded result.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedCall {
    /// Number of its step, from 0 over all attempts of the run.
    pub step: u16,
    /// Unique in its run.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments without `user_id`, or null if they weren't a JSON object.
    pub arguments: Value,
    /// The result as JSON text.
    pub result: String,
}

/// The outcome of an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOutcome {
    /// The run has a reply.
    Succeeded,
    /// The run failed, possibly after some of its calls.
    Failed,
    /// The run was cancelled, possibly after some of its calls.
    Cancelled,
}

/// An earlier run of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The user's message.
    pub user: String,
    /// The committed tool calls, in order.
    pub calls: Vec<RecordedCall>,
    /// The reply, if the run has one.
    pub reply: Option<String>,
    /// Decides which note the model sees after the calls.
    pub outcome: TurnOutcome,
    /// The [`provider_data`](crate::ModelAnswer::provider_data) of its steps, by number.
    pub provider_data: BTreeMap<u16, Value>,
}

/// A committed step of an earlier attempt of this run. It is final: it needs no further model call.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalledStep {
    /// Number of the step, from 0 over all attempts of the run.
    pub step: u16,
    /// The model's text beside its tool calls.
    pub content: String,
    /// The [`provider_data`](crate::ModelAnswer::provider_data) of the answer.
    pub provider_data: Option<Box<Value>>,
    /// Tool calls with a result, in order.
    pub calls: Vec<RecordedCall>,
    /// Tool calls without a result. Their `index` is the position among all calls of the step. Only the last step can have
    /// any, if it is a deferred step: one that was recorded before its calls were made.
    pub pending: Vec<PlannedCall>,
}
