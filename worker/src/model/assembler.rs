//! Assembles the chunks of an answer, within limits.

use errand_agent::{FinishReason, ModelAnswer, Usage};

use super::{
    ModelError,
    calls::ToolCalls,
    chunk::{Choice, Chunk, Delta, TokenUsage},
    error::ProviderError,
    finish::Finish,
    provider_data,
    reasoning::AnswerText,
};

/// At most this many bytes of text and tool calls in one answer.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// At most this many characters of a model's name are kept.
const MAX_MODEL_CHARS: usize = 200;

/// The answer so far.
#[derive(Debug, Default)]
pub(super) struct AnswerAssembler {
    model: String,
    text: AnswerText,
    refusal: String,
    calls: ToolCalls,
    provider_data: provider_data::Collector,
    finish: Option<FinishReason>,
    usage: Usage,
    /// The usage arrived in a chunk without choices, which is the last one of a stream.
    has_final_usage: bool,
    bytes: usize,
    /// The index of the choice that is read. If the server sends several, the others are ignored.
    choice: Option<i64>,
}

impl AnswerAssembler {
    /// Adds a chunk.
    ///
    /// # Errors
    /// The error that the chunk reports, or [`ModelError::TooLarge`].
    pub(super) fn add(&mut self, chunk: &Chunk<'_>) -> Result<(), ModelError> {
        if let Some(error) = chunk.error.as_ref().and_then(ProviderError::in_chunk) {
            return Err(error.into());
        }
        if self.model.is_empty()
            && let Some(model) = &chunk.model.0
        {
            let characters = model.chars().filter(|character| *character != '\0');
            self.model = characters.take(MAX_MODEL_CHARS).collect();
        }
        let groq = chunk.x_groq.0.as_ref().and_then(|groq| groq.usage.0.as_ref());
        if let Some(usage) = chunk.usage.0.as_ref().or(groq) {
            self.add_usage(usage);
            self.has_final_usage |= chunk.choices.0.is_empty() && self.has_output();
        }
        for (position, choice) in chunk.choices.0.iter().enumerate() {
            if self.is_read(choice, position) {
                self.add_choice(choice)?;
            }
        }
        Ok(())
    }

    /// The text so far, without reasoning.
    pub(super) fn content(&self) -> &str {
        self.text.answer()
    }

    /// Whether text that [`content`](Self::content) returned has turned out to be reasoning. Reading it resets it.
    pub(super) fn take_restarted(&mut self) -> bool {
        self.text.take_restarted()
    }

    /// Whether any text or tool call has arrived.
    pub(super) fn has_output(&self) -> bool {
        self.bytes > 0 || !self.calls.is_empty()
    }

    /// Whether a choice has arrived, if only an empty one.
    pub(super) fn has_choice(&self) -> bool {
        self.choice.is_some()
    }

    /// Whether the model has said why it stopped.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Whether the usage has arrived in the form that ends a stream.
    pub(super) fn has_final_usage(&self) -> bool {
        self.has_final_usage
    }

    /// Ends the text.
    pub(super) fn end(&mut self) {
        self.text.end();
    }

    /// The complete answer. `source` names the model and its server.
    ///
    /// Beside tool calls the text contains the reasoning blocks, because models that write them expect to see them again until the
    /// user's message has been answered. Without tool calls the text is the reply to the user, without reasoning.
    pub(super) fn into_answer(self, source: &str) -> ModelAnswer {
        let (tool_calls, call_data) = self.calls.finish();
        let (mut content, answer) = self.text.into_parts();
        let mut provider_data = None;
        if tool_calls.is_empty() {
            content = answer;
        } else {
            content.push_str(&answer);
            provider_data = self.provider_data.finish(source, call_data);
        }
        let finish = self.finish.unwrap_or(if tool_calls.is_empty() {
            FinishReason::Stop
        } else {
            FinishReason::ToolCalls
        });
        ModelAnswer {
            content,
            refusal: (!self.refusal.is_empty()).then_some(self.refusal),
            tool_calls,
            finish,
            usage: self.usage,
            model: self.model,
            provider_data,
        }
    }

    /// Counts are the last positive ones: some servers report them with every chunk, others as 0 or `null` until the end.
    fn add_usage(&mut self, usage: &TokenUsage) {
        if let Some(tokens) = usage.prompt() {
            self.usage.prompt_tokens = tokens;
        }
        if let Some(tokens) = usage.completion() {
            self.usage.completion_tokens = tokens;
        }
    }

    /// Whether a choice is the one that is read. Without an index this is the first one of each chunk.
    fn is_read(&mut self, choice: &Choice<'_>, position: usize) -> bool {
        let index = choice.index.0;
        let read = *self.choice.get_or_insert(index.unwrap_or(0));
        index.map_or(position == 0, |index| index == read)
    }

    fn add_choice(&mut self, choice: &Choice<'_>) -> Result<(), ModelError> {
        if let Some(usage) = &choice.usage.0 {
            self.add_usage(usage);
        }
        if let Some(delta) = &choice.delta.0 {
            self.add_delta(delta)?;
        }
        if let Some(message) = &choice.message.0
            && !self.has_output()
        {
            self.add_delta(message)?;
        }
        match choice.finish_reason.0.as_deref().and_then(Finish::of) {
            None => Ok(()),
            // Some servers repeat the reason, and some end calls with `tool_calls` first and `stop` then.
            Some(Finish::Complete(reason)) => {
                if self.finish.is_none() || reason != FinishReason::Stop {
                    self.finish = Some(reason);
                }
                Ok(())
            }
            Some(Finish::Failed(kind)) => {
                let reason = choice.finish_reason.0.as_deref().unwrap_or_default();
                Err(ProviderError::in_answer(kind, &format!("finish_reason: {reason}")).into())
            }
        }
    }

    fn add_delta(&mut self, delta: &Delta<'_>) -> Result<(), ModelError> {
        self.provider_data.add(delta);
        let text = &*delta.content.text;
        if !text.is_empty() {
            self.count(text.len())?;
            self.text.push(text);
        }
        for refusal in [delta.refusal.0.as_deref(), Some(&*delta.content.refusal)]
            .into_iter()
            .flatten()
        {
            self.count(refusal.len())?;
            self.refusal.push_str(refusal);
        }
        if !delta.tool_calls.0.is_empty() {
            let bytes = self.calls.add_list(&delta.tool_calls.0)?;
            self.count(bytes)?;
        } else if let Some(call) = &delta.function_call.0 {
            let arguments = call.arguments.0.as_deref().unwrap_or_default();
            let bytes = self.calls.add_function_call(call.name.non_empty(), arguments)?;
            self.count(bytes)?;
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ModelError> {
        self.bytes += bytes;
        if self.bytes > MAX_ANSWER_BYTES {
            Err(ModelError::TooLarge)
        } else {
            Ok(())
        }
    }
}
