//! Reads the body of a response into an answer: a stream of server-sent events, or a complete JSON document.
//!
//! It is a state machine over bytes, without IO. Decisions where providers leave the meaning open:
//! - The body is what it looks like, whatever its content type says: JSON if it starts with `{` or `[`, else events.
//! - An answer is complete after `[DONE]`, a finish reason, or usage in a chunk without choices after text or tool calls. Then
//!   neither a broken connection nor an unreadable event invalidates it. Until the body ends, the answer may still grow.
//! - A body that ends before that was cut, and the request may be retried.
//! - An error in the stream fails the answer, even after a finish reason, unless `[DONE]` came first.
//! - Events whose data is not an object or a list only keep the connection open.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;

use errand_agent::ModelAnswer;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ModelError,
    assembler::AnswerAssembler,
    chunk::Chunk,
    error::{ProviderError, one_line},
    repair::Repair,
    sse::EventReader,
};

/// At most this many bytes in a JSON document: twice the limit of an answer.
const MAX_DOCUMENT_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, Default)]
enum Form {
    #[default]
    Unknown,
    Events,
    Document(Vec<u8>),
}

/// Reads an answer piece by piece.
#[derive(Debug, Default)]
pub(super) struct AnswerReader {
    form: Form,
    events: EventReader,
    answer: PartialAnswer,
}

/// The chunks that have been read.
#[derive(Debug, Default)]
struct PartialAnswer {
    assembler: AnswerAssembler,
    repair: Repair,
    is_done: bool,
    chunks: usize,
    /// The data of an event that could not be read, for the error message.
    unreadable: Option<String>,
}

impl AnswerReader {
    /// Reads the next piece of the body.
    ///
    /// # Errors
    /// The error in the stream, or the limit that it exceeds.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        if let Form::Document(document) = &mut self.form {
            return push_document(document, bytes);
        }
        self.events.push(bytes)?;
        if matches!(self.form, Form::Unknown) {
            match self.events.unread().trim_ascii_start() {
                [] => {}
                start @ [b'{' | b'[', ..] => {
                    let mut document = Vec::new();
                    push_document(&mut document, start)?;
                    self.form = Form::Document(document);
                    return Ok(());
                }
                _ => self.form = Form::Events,
            }
        }
        while !self.answer.is_done
            && let Some(event) = self.events.next()?
        {
            self.answer.read_event(event.data, event.is_error)?;
        }
        Ok(())
    }

    /// The text so far, without reasoning.
    pub(super) fn content(&self) -> &str {
        self.answer.assembler.content()
    }

    /// Whether text that [`content`](Self::content) returned has turned out to be reasoning. Reading it resets it.
    pub(super) fn take_restarted(&mut self) -> bool {
        self.answer.assembler.take_restarted()
    }

    /// Whether any text or tool call has arrived.
    pub(super) fn has_output(&self) -> bool {
        self.answer.assembler.has_output()
    }

    /// Whether nothing more is expected.
    pub(super) fn is_done(&self) -> bool {
        self.answer.is_done
    }

    /// Whether the answer is complete, although more may arrive.
    pub(super) fn is_complete(&self) -> bool {
        self.answer.is_complete()
    }

    /// The number of chunks so far.
    pub(super) fn chunks(&self) -> usize {
        self.answer.chunks
    }

    /// Ends the answer, after the body has ended, or has failed with `error`.
    ///
    /// # Errors
    /// `error`, or why there is no answer.
    pub(super) fn end(&mut self, error: Option<ModelError>) -> Result<(), ModelError> {
        if let Form::Document(document) = &self.form {
            if let Err(failure) = self.answer.read_document(document) {
                return Err(error.unwrap_or(failure));
            }
            self.answer.is_done = self.answer.assembler.has_choice();
        } else if let Some(error) = error {
            if !self.answer.is_complete() {
                return Err(match error {
                    ModelError::Connection(error) if !self.answer.assembler.has_choice() => {
                        ModelError::BrokenOff(error)
                    }
                    error => error,
                });
            }
        } else if !self.answer.is_done
            && let Some(event) = self.events.finish()
        {
            self.answer.read_last_event(event.data, event.is_error)?;
        }
        self.answer.end()
    }

    /// The answer that has [ended](Self::end). `source` names the model and its server.
    pub(super) fn into_answer(self, source: &str) -> ModelAnswer {
        self.answer.assembler.into_answer(source)
    }
}

fn push_document(document: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ModelError> {
    document.extend_from_slice(bytes);
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(ModelError::TooLarge);
    }
    Ok(())
}

/// The error in an event that reports one.
fn error_in(data: &[u8]) -> ProviderError {
    let value = serde_json::from_slice(data)
        .unwrap_or_else(|_not_json| Value::String(String::from_utf8_lossy(data).into_owned()));
    ProviderError::in_event(&value)
}

impl PartialAnswer {
    fn is_complete(&self) -> bool {
        self.is_done || self.assembler.is_finished() || self.assembler.has_final_usage()
    }

    fn read_event(&mut self, data: &[u8], is_error: bool) -> Result<(), ModelError> {
        let data = data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == b"[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        if is_error {
            return Err(error_in(data).into());
        }
        match data.first() {
            Some(b'{') => {
                if let Ok(chunk) = serde_json::from_slice(data) {
                    return self.add(&chunk, data);
                }
                self.read_repaired(data)
            }
            Some(b'[') => self.read_repaired(data),
            _ => {
                self.note_unreadable(data);
                Ok(())
            }
        }
    }

    /// Reads the data of an event that may be incomplete because the body ended.
    fn read_last_event(&mut self, data: &[u8], is_error: bool) -> Result<(), ModelError> {
        match self.read_event(data, is_error) {
            Err(ModelError::Malformed(_)) => Ok(()),
            result => result,
        }
    }

    /// Reads data that is not strictly one JSON object: it is repaired, and if that does not help read line by line.
    fn read_repaired(&mut self, data: &[u8]) -> Result<(), ModelError> {
        let text = String::from_utf8_lossy(data);
        let repaired = self.repair.repair(&text);
        match serde_json::from_str::<Value>(&repaired) {
            Ok(value) => self.read_value(&value),
            Err(error) => {
                let mut lines = text
                    .split('\n')
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .peekable();
                let first = lines.next();
                if first.is_some() && lines.peek().is_some() {
                    return first
                        .into_iter()
                        .chain(lines)
                        .try_for_each(|line| self.read_event(line.as_bytes(), false));
                }
                if self.is_complete() {
                    return Ok(());
                }
                Err(ModelError::Malformed(one_line(&format!("{error}: {text}"))))
            }
        }
    }

    fn read_value(&mut self, value: &Value) -> Result<(), ModelError> {
        match value {
            Value::Array(items) => match ProviderError::in_document(value) {
                Some(error) => Err(error.into()),
                None => items.iter().try_for_each(|item| self.read_value(item)),
            },
            Value::Object(_) => {
                let chunk = Chunk::deserialize(value)
                    .map_err(|error| ModelError::Malformed(one_line(&error.to_string())))?;
                self.add_or_fail(&chunk, || Some(value.clone()))
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, chunk: &Chunk<'_>, data: &[u8]) -> Result<(), ModelError> {
        self.add_or_fail(chunk, || serde_json::from_slice(data).ok())
    }

    /// Adds a chunk. One without choices and usage may be an error: then it is read again as a whole.
    fn add_or_fail(
        &mut self,
        chunk: &Chunk<'_>,
        whole: impl FnOnce() -> Option<Value>,
    ) -> Result<(), ModelError> {
        if chunk.choices.0.is_empty()
            && chunk.usage.0.is_none()
            && !self.is_complete()
            && let Some(error) = whole().as_ref().and_then(ProviderError::in_document)
        {
            return Err(error.into());
        }
        self.chunks += 1;
        self.assembler.add(chunk)
    }

    /// Reads a JSON document, or several of them one after the other.
    fn read_document(&mut self, document: &[u8]) -> Result<(), ModelError> {
        if document.is_empty() {
            return Ok(());
        }
        let mut values = serde_json::Deserializer::from_slice(document).into_iter::<Value>();
        let mut is_empty = true;
        for value in &mut values {
            match value {
                Ok(value) => {
                    is_empty = false;
                    self.read_value(&value)?;
                }
                Err(error) if error.is_eof() => {
                    return if self.is_complete() {
                        Ok(())
                    } else {
                        Err(ModelError::Connection("the answer was cut".to_owned()))
                    };
                }
                Err(_) if is_empty => return self.read_repaired(document),
                Err(_) if self.is_complete() => return Ok(()),
                Err(error) => return Err(ModelError::Malformed(one_line(&error.to_string()))),
            }
        }
        Ok(())
    }

    fn note_unreadable(&mut self, data: &[u8]) {
        if self.unreadable.is_none() {
            self.unreadable = Some(one_line(&String::from_utf8_lossy(data)));
        }
    }

    fn end(&mut self) -> Result<(), ModelError> {
        if !self.assembler.has_choice() {
            return Err(ModelError::NoAnswer(match self.unreadable.take() {
                Some(data) => format!("no choices: {data}"),
                None => "no choices".to_owned(),
            }));
        }
        if !self.is_complete() {
            return Err(ModelError::Connection("the stream was cut".to_owned()));
        }
        self.assembler.end();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
