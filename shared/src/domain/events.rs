//! Run events: their JSON shapes and their numbers.
//!
//! Several parts can publish an event of a run: the worker that executes it, a rescuer, an API that cancels it, and a reader
//! that builds it from the run's row. They compute the same number without coordination.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{
    chat::{ChatResponse, RunProblem, ToolCallView, Usage},
    run::RunStatus,
    timing::RunTiming,
};

/// The number of event numbers per epoch. An event number is `epoch * EVENTS_PER_EPOCH + n`, so that numbers increase with
/// every change of ownership without being stored. 2^20 events per epoch and 2^31 epochs stay below 2^53, JavaScript's limit of
/// safe integers.
pub const EVENTS_PER_EPOCH: i64 = 1 << 20;
/// `n` of the first event that a worker publishes in an epoch. Readers use the numbers below for events that the log lacks.
pub const FIRST_OF_WORKER: i64 = 1 << 10;
/// How many numbers a worker skips when it recreates a lost log, so that readers can insert the missing events.
pub const ROOM_AFTER_LOSS: i64 = 1 << 11;
/// The number of the first event in a complete log: the first claim of the run.
pub const FIRST_OF_LOG: i64 = EVENTS_PER_EPOCH + FIRST_OF_WORKER;

/// The number of an epoch's `run.queued`.
pub const fn queued_seq(epoch: i32) -> i64 {
    epoch as i64 * EVENTS_PER_EPOCH + 1
}

/// The number of an epoch's `run.started`.
pub const fn started_seq(epoch: i32) -> i64 {
    epoch as i64 * EVENTS_PER_EPOCH + FIRST_OF_WORKER
}

/// The number of the `approval.requested` of the call with this index in its step. No other event is published in the epoch
/// of a waiting run.
pub const fn requested_seq(epoch: i32, call_index: i16) -> i64 {
    started_seq(epoch) + call_index as i64
}

/// The number of an epoch's final event, which is the last number of the epoch.
pub const fn final_seq(epoch: i32) -> i64 {
    (epoch as i64 + 1) * EVENTS_PER_EPOCH - 1
}

/// Whether this is the number of a final event.
pub const fn is_final_seq(seq: i64) -> bool {
    seq % EVENTS_PER_EPOCH == EVENTS_PER_EPOCH - 1
}

/// A numbered record of a run's progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event<'a> {
    /// The event number. Increases within a run, with gaps.
    pub seq: i64,
    /// The ID of the run.
    pub run_id: Uuid,
    /// The conversation of the run.
    pub conversation_id: Uuid,
    /// How often the run had been claimed when the event was published.
    pub attempt: i32,
    /// When the event was published.
    pub at: DateTime<Utc>,
    /// The event type and its data.
    #[serde(flatten)]
    pub data: EventData<'a>,
}

/// The type of an event and its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "data")]
pub enum EventData<'a> {
    /// The run waits for a worker: it is new, was released, rescued or retried.
    #[serde(rename = "run.queued")]
    Queued {},
    /// A worker has claimed the run.
    #[serde(rename = "run.started")]
    Started {},
    /// Another part of the reply.
    #[serde(rename = "message.delta")]
    Delta {
        /// The text to append to the reply.
        text: Cow<'a, str>,
    },
    /// Replaces the reply received so far.
    #[serde(rename = "message.reset")]
    Reset {
        /// The reply so far.
        text: Cow<'a, str>,
    },
    /// A tool call starts.
    #[serde(rename = "tool.started")]
    ToolStarted {
        /// The ID of the call, unique within the run.
        tool_call_id: Cow<'a, str>,
        /// The name of the tool.
        tool_name: Cow<'a, str>,
        /// The arguments, including the `user_id` that the server added.
        #[schema(value_type = Object)]
        arguments: Cow<'a, Value>,
    },
    /// A tool call has finished and its effects are committed.
    #[serde(rename = "tool.finished")]
    ToolFinished {
        /// The ID of the call, unique within the run.
        tool_call_id: Cow<'a, str>,
        /// The name of the tool.
        tool_name: Cow<'a, str>,
        /// The arguments, including the `user_id` that the server added.
        #[schema(value_type = Object)]
        arguments: Cow<'a, Value>,
        /// The result of the tool.
        #[schema(value_type = Object)]
        result: Cow<'a, Value>,
        /// Whether the tool succeeded.
        success: bool,
    },
    /// The run waits until the user approves or declines a tool call.
    #[serde(rename = "approval.requested")]
    ApprovalRequested {
        /// The ID of the call, unique within the run.
        tool_call_id: Cow<'a, str>,
        /// The name of the tool.
        tool_name: Cow<'a, str>,
        /// The arguments, including the `user_id` that the server added. The call executes with exactly these.
        #[schema(value_type = Object)]
        arguments: Cow<'a, Value>,
        /// The time limit for the decision. After it, the call counts as declined.
        expires_at: DateTime<Utc>,
    },
    /// The run finished with a reply.
    #[serde(rename = "run.succeeded")]
    Succeeded {
        /// The chat response.
        response: Cow<'a, ChatResponse>,
    },
    /// The run finished without a reply.
    #[serde(rename = "run.failed")]
    Failed {
        /// Why the run failed.
        problem: RunProblem,
    },
    /// The run was cancelled.
    #[serde(rename = "run.cancelled")]
    Cancelled {
        /// The completed tool calls, whose effects remain.
        done: Cow<'a, [ToolCallView]>,
        /// The tokens used until the cancellation.
        usage: Usage,
    },
}

impl EventData<'_> {
    /// The event type in JSON.
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

/// The outcome of a finished run. The response to the waiting request and the final event are built from it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    /// The user of the run.
    pub user_id: Uuid,
    /// The number of the final event.
    pub seq: i64,
    /// How often the run was claimed.
    pub attempt: i32,
    /// When the run finished, by the database's clock.
    pub at: DateTime<Utc>,
    /// The chat response.
    pub response: ChatResponse,
    /// The duration of each phase, if known. Not part of any event.
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
                problem: RunProblem::failed("the reason is unknown"),
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
