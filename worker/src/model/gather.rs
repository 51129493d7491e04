//! Gathers a stream of chunks into one answer, within bounds.

use std::collections::BTreeMap;

use errand_agent::{FinishReason, ModelAnswer, ToolCall, Usage};

use super::{
    fault::ModelFault,
    wire::{CallDelta, Chunk, Delta},
};

/// Bytes of text and arguments in one answer, at most: far above any honest answer of some thousand tokens.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// Tool calls in one answer, at most.
const CALLS_MAX: usize = 128;

/// An answer in the making.
#[derive(Debug, Default)]
pub(super) struct Gather {
    model: String,
    content: String,
    refusal: String,
    calls: BTreeMap<usize, ToolCall>,
    finish: Option<FinishReason>,
    usage: Usage,
    bytes: usize,
    answered: bool,
}

impl Gather {
    pub(super) fn add(&mut self, chunk: Chunk) -> Result<(), ModelFault> {
        if let Some(error) = chunk.error {
            return Err(ModelFault::Malformed(super::fault::line(&format!(
                "error in the stream: {error}"
            ))));
        }
        if let Some(model) = chunk.model
            && self.model.is_empty()
        {
            self.model = model
                .chars()
                .filter(|character| *character != '\0')
                .take(200)
                .collect();
        }
        if let Some(usage) = chunk.usage {
            self.usage = Usage {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
            };
        }
        let Some(choice) = chunk.choices.into_iter().next() else {
            return Ok(());
        };
        self.answered = true;
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(finish_reason(reason));
        }
        self.add_delta(choice.delta)
    }

    /// The text so far.
    pub(super) fn content(&self) -> &str {
        &self.content
    }

    /// Whether any of it has come.
    pub(super) fn has_begun(&self) -> bool {
        self.bytes > 0 || !self.calls.is_empty()
    }

    fn add_delta(&mut self, delta: Delta) -> Result<(), ModelFault> {
        if let Some(text) = delta.content {
            self.count(text.len())?;
            self.content.push_str(&text);
        }
        if let Some(text) = delta.refusal {
            self.count(text.len())?;
            self.refusal.push_str(&text);
        }
        for call in delta.tool_calls.unwrap_or_default() {
            self.add_call(call)?;
        }
        Ok(())
    }

    fn add_call(&mut self, delta: CallDelta) -> Result<(), ModelFault> {
        // Servers that send whole calls leave the index out.
        let index = delta.index.unwrap_or(self.calls.len());
        if self.calls.len() >= CALLS_MAX && !self.calls.contains_key(&index) {
            return Err(ModelFault::TooLarge);
        }
        let function = delta.function.unwrap_or_default();
        let arguments = function.arguments.unwrap_or_default();
        let name = function.name.unwrap_or_default();
        self.count(arguments.len() + name.len())?;
        let call = self.calls.entry(index).or_insert_with(|| ToolCall {
            id: String::new(),
            name: String::new(),
            arguments: String::new(),
        });
        if let Some(id) = delta.id
            && call.id.is_empty()
        {
            self.bytes += id.len();
            call.id = id;
        }
        call.name.push_str(&name);
        call.arguments.push_str(&arguments);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ModelFault> {
        self.bytes += bytes;
        if self.bytes > ANSWER_MAX_BYTES {
            Err(ModelFault::TooLarge)
        } else {
            Ok(())
        }
    }

    /// The whole answer; a stream that ended before the model said why it stopped was cut.
    pub(super) fn finish(self) -> Result<ModelAnswer, ModelFault> {
        if !self.answered {
            return Err(ModelFault::Malformed("the answer has no choices".to_owned()));
        }
        let Some(finish) = self.finish else {
            return Err(ModelFault::Connection("the stream was cut".to_owned()));
        };
        Ok(ModelAnswer {
            content: self.content,
            refusal: (!self.refusal.is_empty()).then_some(self.refusal),
            tool_calls: self.calls.into_values().collect(),
            finish,
            usage: self.usage,
            model: self.model,
        })
    }
}

fn finish_reason(name: String) -> FinishReason {
    match name.as_str() {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        _ => FinishReason::Other(name),
    }
}
