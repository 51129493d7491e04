//! The response to a chat message, which is also the public view of a run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::run::RunStatus;

/// The reply and the tool calls of a run, so far or in its final state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChatResponse {
    /// The conversation that the message belongs to.
    pub conversation_id: Uuid,
    /// The reply of the agent. Empty unless the run succeeded.
    pub message: String,
    /// Every tool call of the run in order, including failed ones.
    pub tool_calls: Vec<ToolCallView>,
    /// The tokens of all model calls of the run.
    pub usage: Usage,
    /// The ID of the run.
    pub run_id: Uuid,
    /// The state of the run.
    pub status: RunStatus,
    /// The tool calls that wait for approval. Present only while the run is `waiting_approval`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// Why the run failed. Present only if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<RunProblem>,
}

/// A tool call of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ToolCallRecord)]
pub struct ToolCallView {
    /// The ID of the call, unique within the run.
    pub tool_call_id: String,
    /// The name of the tool.
    pub tool_name: String,
    /// The arguments, including the `user_id` that the server added.
    #[schema(value_type = Object)]
    pub arguments: serde_json::Value,
    /// The result of the tool.
    #[schema(value_type = Object)]
    pub result: serde_json::Value,
}

/// A tool call that executes only if the user approves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// The ID of the call, unique within the run.
    pub tool_call_id: String,
    /// The name of the tool.
    pub tool_name: String,
    /// The arguments, including the `user_id` that the server added. The call executes with exactly these.
    #[schema(value_type = Object)]
    pub arguments: serde_json::Value,
    /// The time limit for the decision. After it, the call counts as declined.
    pub expires_at: DateTime<Utc>,
}

/// Token counts of model calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens in the prompts.
    pub prompt_tokens: i64,
    /// Tokens in the answers.
    pub completion_tokens: i64,
    /// The sum of both.
    pub total_tokens: i64,
    /// Whether the counts contain estimates, because the provider did not report them. Present only if so.
    #[serde(default, rename = "estimated", skip_serializing_if = "is_false")]
    pub is_estimated: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Usage {
    /// Creates a usage with its total.
    pub const fn new(prompt_tokens: i64, completion_tokens: i64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            is_estimated: false,
        }
    }

    /// The same usage, marked as an estimate or not.
    #[must_use]
    pub const fn estimated(self, is_estimated: bool) -> Self {
        Self { is_estimated, ..self }
    }
}

/// Why a run failed, as a problem (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunProblem {
    /// `about:blank`: the status says it all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// 502: the fault is upstream.
    pub status: u16,
    /// A sentence for a person.
    pub detail: String,
}

impl RunProblem {
    /// The problem of a run that failed for this reason.
    pub fn failed(reason: &str) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: "Bad Gateway".to_owned(),
            status: 502,
            detail: format!("Agent execution failed: {reason}"),
        }
    }
}
