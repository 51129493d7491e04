//! What came back from the model.

use std::ops::{Add, AddAssign};

use crate::message::ToolCall;

/// Tokens that a model call cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
}

impl Usage {
    /// Tokens read and written.
    pub fn total(self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl Add for Usage {
    type Output = Self;

    /// Saturates: a provider's nonsense must not wrap around.
    fn add(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Why the model stopped. Only a hint: servers disagree, so tool calls are honoured whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// It had said all.
    Stop,
    /// It ran into its limit of tokens.
    Length,
    /// The provider's filter stepped in.
    ContentFilter,
    /// It waits for its tools.
    ToolCalls,
    /// Something else, in the server's own words.
    Other(String),
}

/// One whole answer of the model, gathered from its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAnswer {
    /// What it said.
    pub content: String,
    /// Why it declined, where the provider tells this apart.
    pub refusal: Option<String>,
    /// The tools that it asked for, in order.
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped.
    pub finish: FinishReason,
    /// What it cost.
    pub usage: Usage,
    /// The model that answered, as the server names it.
    pub model: String,
}
