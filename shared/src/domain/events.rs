//! The events of a run: their forms on the wire, and how they are numbered.
//!
//! Every teller of an event (the worker that drives the run, a rescuer, an API that cancels, a reader that makes it from
//! the run's row) comes to the same number, without asking anybody.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{
    chat::{ChatResponse, RunProblem, ToolCallRecord, Usage},
    run::RunStatus,
    timing::RunTiming,
};

/// Event numbers of one epoch: a run's event number is `epoch * EVENTS_PER_EPOCH + n`, so that numbers grow with every
/// change of hands without being journalled. 2^20 events an epoch and 2^31 epochs stay below 2^53, JavaScript's safe
/// integers.
pub const EVENTS_PER_EPOCH: i64 = 1 << 20;
/// `n` of the first event that the worker of an epoch tells. What is below, a reader may use to tell what the log lacks.
pub const FIRST_OF_WORKER: i64 = 1 << 10;
/// How many numbers a worker leaves out when it begins a lost log anew: room for what a reader tells in its place.
pub const ROOM_AFTER_LOSS: i64 = 1 << 11;
/// Number of the first event of a log that lacks nothing: the first claim of a run.
pub const FIRST_OF_LOG: i64 = EVENTS_PER_EPOCH + FIRST_OF_WORKER;

/// Number of the `run.queued` of an epoch.
pub const fn queued_seq(epoch: i32) -> i64 {
    epoch as i64 * EVENTS_PER_EPOCH + 1
}

/// Number of the `run.started` of an epoch.
pub const fn started_seq(epoch: i32) -> i64 {
    epoch as i64 * EVENTS_PER_EPOCH + FIRST_OF_WORKER
}

/// Number of the `approval.requested` of a call at this place in its step, of a run that was parked in this epoch. Nobody
/// else tells anything in such an epoch.
pub const fn requested_seq(epoch: i32, call_index: i16) -> i64 {
    started_seq(epoch) + call_index as i64
}

/// Number of the event that ends a run in an epoch: its last.
pub const fn final_seq(epoch: i32) -> i64 {
    (epoch as i64 + 1) * EVENTS_PER_EPOCH - 1
}

/// Whether an event of this number ends its run.
pub const fn is_final_seq(seq: i64) -> bool {
    seq % EVENTS_PER_EPOCH == EVENTS_PER_EPOCH - 1
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event<'a> {
    /// Its number; grows within a run, with gaps.
    pub seq: i64,
    /// The run.
    pub run_id: Uuid,
    /// The run's conversation.
    pub conversation_id: Uuid,
    /// How often the run had been claimed.
    pub attempt: i32,
    /// When it was told.
    pub at: DateTime<Utc>,
    /// What happened: `type`, and its `data`.
    #[serde(flatten)]
    pub data: EventData<'a>,
}

/// What happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "data")]
pub enum EventData<'a> {
    /// It waits for a worker: at first, after its worker handed it back or died, or when it is tried again.
    #[serde(rename = "run.queued")]
    Queued {},
    /// A worker has claimed it.
    #[serde(rename = "run.started")]
    Started {},
    /// More of the reply.
    #[serde(rename = "message.delta")]
    Delta {
        /// What is to be put behind the text so far.
        text: Cow<'a, str>,
    },
    /// Another text in place of what was told of the reply so far.
    #[serde(rename = "message.reset")]
    Reset {
        /// The text so far.
        text: Cow<'a, str>,
    },
    /// A tool is about to be called.
    #[serde(rename = "tool.started")]
    ToolStarted {
        /// The model's id of the call, unique within the run.
        tool_call_id: Cow<'a, str>,
        /// The tool.
        tool_name: Cow<'a, str>,
        /// The arguments, with the `user_id` that the server injected.
        #[schema(value_type = Object)]
        arguments: Cow<'a, Value>,
    },
    /// A tool was called; what it did is committed.
    #[serde(rename = "tool.finished")]
    ToolFinished {
        /// The model's id of the call, unique within the run.
        tool_call_id: Cow<'a, str>,
        /// The tool.
        tool_name: Cow<'a, str>,
        /// The arguments, with the `user_id` that the server injected.
        #[schema(value_type = Object)]
        arguments: Cow<'a, Value>,
        /// What the tool answered.
        #[schema(value_type = Object)]
        result: Cow<'a, Value>,
        /// Whether it did what it was asked for.
        success: bool,
    },
    /// A tool is to be called only if the user approves, and the run waits for that.
    #[serde(rename = "approval.requested")]
    ApprovalRequested {
        /// The model's id of the call, unique within the run.
        tool_call_id: Cow<'a, str>,
        /// The tool.
        tool_name: Cow<'a, str>,
        /// The arguments, with the `user_id` that the server injected. The call will be made with these and no others.
        #[schema(value_type = Object)]
        arguments: Cow<'a, Value>,
        /// Until when the user can decide; then the call counts as declined.
        expires_at: DateTime<Utc>,
    },
    /// The run has ended with a reply.
    #[serde(rename = "run.succeeded")]
    Succeeded {
        /// The answer, as the chat would have been answered.
        response: Cow<'a, ChatResponse>,
    },
    /// The run has ended without a reply.
    #[serde(rename = "run.failed")]
    Failed {
        /// Why.
        problem: RunProblem,
    },
    /// The run was cancelled.
    #[serde(rename = "run.cancelled")]
    Cancelled {
        /// The tool calls that had been made and stay made.
        done: Cow<'a, [ToolCallRecord]>,
        /// What the run had cost by then.
        usage: Usage,
    },
}

impl EventData<'_> {
    /// The event's type on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued {} => "run.queued",
            Self::Started {} => "run.started",
            Self::Delta { .. } => "message.delta",
            Self::Reset { .. } => "message.reset",
            Self::ToolStarted { .. } => "tool.started",
            Self::ToolFinished { .. } => "tool.finished",
            Self::ApprovalRequested { .. } => "approval.requested",
            Self::Succeeded { .. } => "run.succeeded",
            Self::Failed { .. } => "run.failed",
            Self::Cancelled { .. } => "run.cancelled",
        }
    }
}

/// The end of a run, from which every projection of it is made: the answer to who waits, the final event to who reads.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    /// Whose run it was.
    pub user_id: Uuid,
    /// Number of the final event.
    pub seq: i64,
    /// How often the run had been claimed.
    pub attempt: i32,
    /// When it ended, by the database's clock.
    pub at: DateTime<Utc>,
    /// What it came to.
    pub response: ChatResponse,
    /// Where its time went, if that is known. No event shows it.
    pub timing: Option<RunTiming>,
}

impl RunEnd {
    /// The final event.
    pub fn event(&self) -> Event<'_> {
        let response = &self.response;
        let data = match (response.status, &response.problem) {
            (RunStatus::Succeeded, _) => EventData::Succeeded {
                response: Cow::Borrowed(response),
            },
            (RunStatus::Failed, Some(problem)) => EventData::Failed {
                problem: problem.clone(),
            },
            (RunStatus::Failed, None) => EventData::Failed {
                problem: RunProblem::failed("the reason is not known"),
            },
            _ => EventData::Cancelled {
                done: Cow::Borrowed(&response.tool_calls),
                usage: response.usage,
            },
        };
        Event {
            seq: self.seq,
            run_id: response.run_id,
            conversation_id: response.conversation_id,
            attempt: self.attempt,
            at: self.at,
            data,
        }
    }
}

#[cfg(test)]
mod tests;
