//! Token counts: a plain estimate, the same for the same text.

use serde::{Deserialize, Serialize};

use super::{ChatRequest, Reply};

/// How many tokens a call took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    pub prompt_tokens: usize,
    /// Tokens of the answer.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
}

impl Usage {
    /// The estimate for this request and this answer: a token for each four bytes begun, four for each message.
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

/// Tokens of a text of `bytes` bytes.
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
    let said = reply
        .content
        .as_ref()
        .or(reply.refusal.as_ref())
        .map_or(0, String::len);
    (tokens(said) + calls).max(1)
}

fn call(name: &str, arguments: &str) -> usize {
    4 + tokens(name.len() + arguments.len())
}
