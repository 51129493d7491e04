//! The answer to a chat, as every projection of a run shows it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::run::RunStatus;

/// What a run has said and done so far, or in the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChatResponse {
    /// The conversation of the run.
    pub conversation_id: Uuid,
    /// The reply; empty unless the run succeeded.
    pub message: String,
    /// Every tool call of the run in order, failed ones too.
    pub tool_calls: Vec<ToolCallRecord>,
    /// The sum over every model call of the run.
    pub usage: Usage,
    /// The run.
    pub run_id: Uuid,
    /// Where the run stands.
    pub status: RunStatus,
    /// The tool calls about which the user is to decide; only while the run waits for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// Why the run failed; only when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<RunProblem>,
}

/// A tool call as users see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolCallRecord {
    /// The model's id of the call, unique within the run.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// The arguments, with the `user_id` that the server injected.
    #[schema(value_type = Object)]
    pub arguments: serde_json::Value,
    /// What the tool answered.
    #[schema(value_type = Object)]
    pub result: serde_json::Value,
}

/// A tool call that is made only if the user approves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// The model's id of the call, unique within the run.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// The arguments, with the `user_id` that the server injected. The call will be made with these and no others.
    #[schema(value_type = Object)]
    pub arguments: serde_json::Value,
    /// Until when the user can decide; then the call counts as declined.
    pub expires_at: DateTime<Utc>,
}

/// Tokens as the model's server counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens sent.
    pub prompt_tokens: i64,
    /// Tokens received.
    pub completion_tokens: i64,
    /// Both.
    pub total_tokens: i64,
}

impl Usage {
    /// The usage with its total.
    pub const fn new(prompt_tokens: i64, completion_tokens: i64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
        }
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
