//! What happened before: earlier runs of the conversation, and committed steps of this one.

use serde_json::Value;

use crate::PlannedCall;

/// A tool call that was made and answered.
#[derive(Debug, Clone, PartialEq)]
pub struct PastCall {
    /// The model call that asked for it, counted from 0 in its run.
    pub step: u16,
    /// The call's id, unique in its run.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments without `user_id`; null if they were not a JSON object.
    pub arguments: Value,
    /// JSON text.
    pub result: String,
}

/// How an earlier run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOutcome {
    /// With a reply.
    Succeeded,
    /// With a failure, perhaps after some of its calls.
    Failed,
    /// It was cancelled, perhaps after some of its calls.
    Cancelled,
}

/// An earlier run of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// What the user said.
    pub user: String,
    /// Its committed tool calls, in order.
    pub calls: Vec<PastCall>,
    /// What it replied, if it did.
    pub reply: Option<String>,
    /// How it ended.
    pub outcome: TurnOutcome,
}

/// A committed step of an earlier attempt of this run: it stands, and is not asked again.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalledStep {
    /// The step's number, counted from 0.
    pub step: u16,
    /// What the model said beside its tool calls.
    pub content: String,
    /// Its tool calls that were answered, in order.
    pub calls: Vec<PastCall>,
    /// Those that are still to be made, by their places among all of its calls. Only the last step may have any: it was
    /// journalled before its calls were made.
    pub open: Vec<PlannedCall>,
}
