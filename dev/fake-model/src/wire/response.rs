//! Responses: completions, chunks of a stream, and errors.

use serde::{Deserialize, Serialize};

use super::{ToolCall, Usage};

/// The reason why the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// The answer reached the token limit.
    Length,
    /// The model called tools.
    ToolCalls,
    /// The provider's content filter blocked the rest.
    ContentFilter,
}

/// An answer before it is serialized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The text, if any.
    pub content: Option<String>,
    /// The refusal, if any.
    pub refusal: Option<String>,
    /// Tool calls, possibly empty.
    pub tool_calls: Vec<ToolCall>,
    /// The reason why the answer ended.
    pub finish_reason: FinishReason,
    /// `false` sends an empty `choices` list.
    pub choices: bool,
}

impl Reply {
    /// A complete text.
    pub fn text(content: impl Into<String>) -> Self {
        Self {
            content: Some(content.into()),
            refusal: None,
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Stop,
            choices: true,
        }
    }

    /// Tool calls without a text.
    pub fn calls(tool_calls: Vec<ToolCall>) -> Self {
        Self {
            content: None,
            tool_calls,
            finish_reason: FinishReason::ToolCalls,
            ..Self::text("")
        }
    }
}

/// Members that all responses share.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
}

/// Value of `system_fingerprint`.
const FINGERPRINT: &str = concat!("errand-rules-", env!("CARGO_PKG_VERSION"));

/// A complete response: `chat.completion`.
#[derive(Debug, Serialize)]
pub(crate) struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<Choice<'a>>,
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Choice<'a> {
    index: u32,
    message: AssistantMessage<'a>,
    logprobs: Option<()>,
    finish_reason: FinishReason,
}

#[derive(Debug, Serialize)]
struct AssistantMessage<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "<[ToolCall]>::is_empty")]
    tool_calls: &'a [ToolCall],
}

impl<'a> Completion<'a> {
    pub(crate) fn new(envelope: &'a Envelope, reply: &'a Reply, usage: Usage) -> Self {
        let message = AssistantMessage {
            role: "assistant",
            content: reply.content.as_deref(),
            refusal: reply.refusal.as_deref(),
            tool_calls: &reply.tool_calls,
        };
        let choice = Choice {
            index: 0,
            message,
            logprobs: None,
            finish_reason: reply.finish_reason,
        };
        Self {
            id: &envelope.id,
            object: "chat.completion",
            created: envelope.created,
            model: &envelope.model,
            system_fingerprint: FINGERPRINT,
            choices: if reply.choices { vec![choice] } else { Vec::new() },
            usage,
        }
    }
}

/// One event of a stream: `chat.completion.chunk`.
#[derive(Debug, Serialize)]
pub(crate) struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<ChunkChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Debug, Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<FinishReason>,
}

/// The part of the message in a chunk.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_calls: Option<[CallDelta<'a>; 1]>,
}

/// The part of a tool call in a chunk.
#[derive(Debug, Serialize)]
pub(crate) struct CallDelta<'a> {
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'a str>,
    pub(crate) function: FunctionDelta<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    pub(crate) arguments: &'a str,
}

impl<'a> Chunk<'a> {
    /// A chunk with a delta. The last one has a finish reason.
    pub(crate) fn delta(
        envelope: &'a Envelope,
        delta: Delta<'a>,
        finish_reason: Option<FinishReason>,
    ) -> Self {
        Self {
            choices: vec![ChunkChoice {
                index: 0,
                delta,
                logprobs: None,
                finish_reason,
            }],
            ..Self::bare(envelope)
        }
    }

    /// The final chunk with the usage and no choices.
    pub(crate) fn usage(envelope: &'a Envelope, usage: Usage) -> Self {
        Self {
            usage: Some(usage),
            ..Self::bare(envelope)
        }
    }

    fn bare(envelope: &'a Envelope) -> Self {
        Self {
            id: &envelope.id,
            object: "chat.completion.chunk",
            created: envelope.created,
            model: &envelope.model,
            system_fingerprint: FINGERPRINT,
            choices: Vec::new(),
            usage: None,
        }
    }
}

/// `OpenAI`'s error object: `{"error": {...}}`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
}

#[derive(Debug, Serialize)]
struct ErrorDetail<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl<'a> ErrorBody<'a> {
    pub(crate) fn new(
        message: &'a str,
        kind: &'a str,
        param: Option<&'a str>,
        code: Option<&'a str>,
    ) -> Self {
        Self {
            error: ErrorDetail {
                message,
                kind,
                param,
                code,
            },
        }
    }
}
