//! What this server answers: whole completions, chunks of a stream, and errors.

use serde::{Deserialize, Serialize};

use super::{ToolCall, Usage};

/// Why the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The answer is whole.
    Stop,
    /// The answer was cut at the token limit.
    Length,
    /// The model wants tools called.
    ToolCalls,
    /// The provider's filter stepped in.
    ContentFilter,
}

/// An answer, before it is put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The text, if any.
    pub content: Option<String>,
    /// A refusal, if the model refuses.
    pub refusal: Option<String>,
    /// The calls asked for.
    pub tool_calls: Vec<ToolCall>,
    /// Why the answer ended.
    pub finish_reason: FinishReason,
    /// Whether `choices` holds anything at all.
    pub choices: bool,
}

impl Reply {
    /// A finished text.
    pub fn text(content: impl Into<String>) -> Self {
        Self {
            content: Some(content.into()),
            refusal: None,
            tool_calls: Vec::new(),
            finish_reason: FinishReason::Stop,
            choices: true,
        }
    }

    /// Tool calls, without a text.
    pub fn calls(tool_calls: Vec<ToolCall>) -> Self {
        Self {
            content: None,
            tool_calls,
            finish_reason: FinishReason::ToolCalls,
            ..Self::text("")
        }
    }
}

/// What the envelope of every answer says.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
}

/// What the model calls itself to those who look at the wire.
const FINGERPRINT: &str = concat!("errand-rules-", env!("CARGO_PKG_VERSION"));

/// A whole completion, as JSON.
#[derive(Debug, Serialize)]
pub struct Completion<'a> {
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
    message: Given<'a>,
    logprobs: Option<()>,
    finish_reason: FinishReason,
}

/// The assistant's message in a completion.
#[derive(Debug, Serialize)]
pub struct Given<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "<[ToolCall]>::is_empty")]
    tool_calls: &'a [ToolCall],
}

impl<'a> Completion<'a> {
    /// The completion that says `reply`.
    pub(crate) fn new(head: &'a Head, reply: &'a Reply, usage: Usage) -> Self {
        let message = Given {
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
            id: &head.id,
            object: "chat.completion",
            created: head.created,
            model: &head.model,
            system_fingerprint: FINGERPRINT,
            choices: if reply.choices { vec![choice] } else { Vec::new() },
            usage,
        }
    }
}

/// One chunk of a streamed completion, as JSON.
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

/// What a chunk adds to the message.
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

/// What a chunk adds to one tool call.
#[derive(Debug, Serialize)]
pub(crate) struct CallDelta<'a> {
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'a str>,
    pub(crate) function: FunctionDelta<'a>,
}

/// What a chunk adds to the function of a tool call.
#[derive(Debug, Serialize)]
pub(crate) struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    pub(crate) arguments: &'a str,
}

impl<'a> Chunk<'a> {
    /// A chunk with a delta, or the last one with the reason to end.
    pub(crate) fn delta(head: &'a Head, delta: Delta<'a>, finish_reason: Option<FinishReason>) -> Self {
        Self {
            choices: vec![ChunkChoice {
                index: 0,
                delta,
                logprobs: None,
                finish_reason,
            }],
            ..Self::bare(head)
        }
    }

    /// The chunk after the last one, which carries the usage.
    pub(crate) fn usage(head: &'a Head, usage: Usage) -> Self {
        Self {
            usage: Some(usage),
            ..Self::bare(head)
        }
    }

    fn bare(head: &'a Head) -> Self {
        Self {
            id: &head.id,
            object: "chat.completion.chunk",
            created: head.created,
            model: &head.model,
            system_fingerprint: FINGERPRINT,
            choices: Vec::new(),
            usage: None,
        }
    }
}

/// The JSON of an error: `{"error": {...}}`.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
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
    /// An error in the shape that clients parse.
    pub fn new(message: &'a str, kind: &'a str, param: Option<&'a str>, code: Option<&'a str>) -> Self {
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
