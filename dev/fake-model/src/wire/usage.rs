//! Token counts: a deterministic estimate.

use serde::{Deserialize, Serialize};

use super::{ChatRequest, Reply};

/// The `usage` member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Estimated tokens of the request.
    pub prompt_tokens: usize,
    /// Estimated tokens of the answer.
    pub completion_tokens: usize,
    /// Their sum.
    pub total_tokens: usize,
}

impl Usage {
    /// Estimates one token per four bytes, rounded up, and four more per message and tool call.
    pub fn estimate(request: &ChatRequest, reply: &Reply) -> Self {
        let prompt_tokens = prompt(request);
        let completion_tokens = completion(reply);
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens + completion_tokens,
        }
    }
}

fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(4)
}

fn prompt(request: &ChatRequest) -> usize {
    let messages: usize = request
        .messages
        .iter()
        .map(|message| {
            let calls: usize = message
                .calls()
                .iter()
                .map(|c| call(&c.function.name, &c.function.arguments))
                .sum();
            4 + tokens(message.content.len()) + calls
        })
        .sum();
    let tools: usize = request
        .tools
        .iter()
        .flatten()
        .map(|tool| {
            let function = &tool.function;
            let schema = function
                .parameters
                .as_ref()
                .map_or(0, |schema| schema.get().len());
            tokens(function.name.len() + function.description.as_ref().map_or(0, String::len) + schema)
        })
        .sum();
    3 + messages + tools
}

fn completion(reply: &Reply) -> usize {
    let calls: usize = reply
        .tool_calls
        .iter()
        .map(|c| call(&c.function.name, &c.function.arguments))
        .sum();
    let text = reply
        .content
        .as_ref()
        .or(reply.refusal.as_ref())
        .map_or(0, String::len);
    (tokens(text) + calls).max(1)
}

fn call(name: &str, arguments: &str) -> usize {
    4 + tokens(name.len() + arguments.len())
}
