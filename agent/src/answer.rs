//! The model's answer.

use std::ops::{Add, AddAssign};

use serde_json::Value;

use crate::message::ToolCall;

/// Tokens used by a model call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Whether the counts are estimates, because the provider did not report them.
    pub is_estimated: bool,
}

impl Usage {
    /// The sum of both.
    pub fn total(self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl Add for Usage {
    type Output = Self;

    /// Saturates, so that absurd values from a provider can't overflow.
    fn add(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            is_estimated: self.is_estimated || other.is_estimated,
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The reason why the model stopped. Servers disagree about its use, so tool calls are executed whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// The answer reached the token limit.
    Length,
    /// The provider's content filter blocked the answer.
    ContentFilter,
    /// The model waits for tool results.
    ToolCalls,
    /// Any other reason that the server sent.
    Other(String),
}

/// A complete answer of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAnswer {
    /// The text, possibly empty. Beside tool calls it can contain reasoning blocks, which the model expects to see again.
    pub content: String,
    /// The refusal, if the provider reports it separately.
    pub refusal: Option<String>,
    /// Tool calls, in order.
    pub tool_calls: Vec<ToolCall>,
    /// The finish reason.
    pub finish: FinishReason,
    /// Tokens used.
    pub usage: Usage,
    /// The model's name as the server reports it.
    pub model: String,
    /// What the provider sent with the tool calls and may require back with them, such as reasoning and signatures. Opaque to the
    /// agent. Members of the array `calls` belong to the tool call at the same position.
    pub provider_data: Option<Box<Value>>,
}
