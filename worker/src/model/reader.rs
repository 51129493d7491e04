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
                return Err(error);
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
mod tests {
    use errand_agent::FinishReason;

    use super::*;
    use crate::model::ErrorKind;

    type Result<T = ModelAnswer> = std::result::Result<T, ModelError>;

    fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, error: Option<ModelError>) -> Result {
        let mut reader = AnswerReader::default();
        for piece in pieces {
            reader.push(piece)?;
        }
        reader.end(error)?;
        Ok(reader.into_answer("host/model"))
    }

    /// Reads a body in one piece, in all pairs of pieces and byte by byte, and asserts that the result is the same.
    fn read(body: impl AsRef<[u8]>) -> Result {
        let body = body.as_ref();
        let whole = read_pieces([body], None);
        let text = |result: &Result| format!("{result:?}");
        for cut in 1..body.len() {
            let (start, end) = body.split_at(cut);
            assert_eq!(
                text(&read_pieces([start, end], None)),
                text(&whole),
                "cut at {cut}"
            );
        }
        assert_eq!(
            text(&read_pieces(body.chunks(1), None)),
            text(&whole),
            "byte by byte"
        );
        whole
    }

    /// A stream of events with these data.
    fn stream<const N: usize>(data: [&str; N]) -> String {
        data.map(|data| format!("data: {data}\n\n")).concat()
    }

    fn text(content: &str) -> String {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":{}}}}}]}}"#,
            serde_json::json!(content)
        )
    }

    fn finished(reason: &str) -> String {
        format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
    }

    /// The content of the answer in a stream.
    fn content<const N: usize>(data: [&str; N]) -> String {
        read(stream(data)).unwrap().content
    }

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn stream_as_specified() {
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        let first = r#"{"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#;
        let answer = read(stream([
            first,
            &text("Hel"),
            &text("lo."),
            &finished("stop"),
            usage,
            "[DONE]",
        ]))
        .unwrap();
        assert_eq!((&*answer.content, &*answer.model), ("Hello.", "m"));
        assert_eq!(
            (answer.usage.prompt_tokens, answer.usage.completion_tokens),
            (3, 2)
        );
        assert_eq!((answer.finish, answer.refusal), (FinishReason::Stop, None));
    }

    #[test]
    fn members_of_unexpected_types_are_missing() {
        let end = finished("stop");
        for odd in [
            "null",
            "[]",
            "true",
            r#""text""#,
            "{}",
            r#"{"choices":null,"usage":{"prompt_tokens":null}}"#,
            r#"{"choices":[null]}"#,
            r#"{"choices":[{"index":0,"delta":null,"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"role":null,"content":null,"tool_calls":null,"function_call":null}}]}"#,
            r#"{"choices":[],"prompt_filter_results":[{}],"model":"","id":"","object":""}"#,
            r#"{"choices":[{"index":0,"content_filter_results":{}}],"error":null}"#,
            r#"{"choices":5,"model":[]}"#,
        ] {
            assert_eq!(
                content([&text("a"), odd, &text("b"), &end, "[DONE]"]),
                "ab",
                "{odd}"
            );
        }
    }

    #[test]
    fn empty_events_and_comments_are_ignored() {
        let body = format!(
            ": hi\n\ndata:\n\ndata: \n\nevent: ping\ndata: {{}}\n\n: ok\n\ndata: ping\n\n{}",
            stream([&text("a"), &finished("stop")])
        );
        assert_eq!(read(body).unwrap().content, "a");
    }

    #[test]
    fn byte_order_mark_and_line_endings() {
        let body = stream([&text("a"), &finished("stop"), "[DONE]"]);
        for end in ["\n", "\r", "\r\n"] {
            let body = format!("\u{feff}{}", body.replace('\n', end));
            assert_eq!(read(body).unwrap().content, "a", "{end:?}");
        }
    }

    #[test]
    fn content_as_parts() {
        let parts = r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]},{"type":"text","text":"a"}]}}]}"#;
        assert_eq!(content([parts, &text("b"), &finished("stop")]), "ab");
    }

    #[test]
    fn reasoning_is_not_content() {
        let reasoning = r#"{"choices":[{"delta":{"content":"","reasoning":"Hm","reasoning_content":"Hm","reasoning_details":[{"text":"Hm"}]}}]}"#;
        let thought = text("<think>Hm</think>\n\n");
        assert_eq!(content([reasoning, &thought, &text("a"), &finished("stop")]), "a");
        let only = read(stream([&text("<think>Hm"), &finished("length")])).unwrap();
        assert_eq!((&*only.content, only.finish), ("", FinishReason::Length));
    }

    #[test]
    fn reasoning_beside_tool_calls_stays_in_the_content() {
        let call = r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"add","arguments":"{}"}}]}}]}"#;
        let thought = text("<think>Hm</think>\n\n");
        let answer = read(stream([&thought, &text("So."), call, &finished("tool_calls")])).unwrap();
        assert_eq!(answer.content, "<think>Hm</think>\n\nSo.");
        assert_eq!(answer.tool_calls.len(), 1);
    }

    #[test]
    fn refusal_is_kept() {
        let refusal = r#"{"choices":[{"delta":{"refusal":"No."}}]}"#;
        let answer = read(stream([refusal, &finished("stop")])).unwrap();
        assert_eq!(
            (answer.content.as_str(), answer.refusal.as_deref()),
            ("", Some("No."))
        );
        let empty = r#"{"choices":[{"delta":{"content":"a","refusal":""}}]}"#;
        assert_eq!(read(stream([empty, &finished("stop")])).unwrap().refusal, None);
    }

    #[test]
    fn only_one_choice_is_read() {
        let other = r#"{"choices":[{"index":1,"delta":{"content":"x"},"finish_reason":"length"}]}"#;
        let both = r#"{"choices":[{"index":1,"delta":{"content":"x"}},{"index":0,"delta":{"content":"b"}}]}"#;
        let answer = read(stream([&text("a"), other, both, &finished("stop")])).unwrap();
        assert_eq!((&*answer.content, answer.finish), ("ab", FinishReason::Stop));
        let unnumbered = r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"x"}}]}"#;
        assert_eq!(content([unnumbered, &finished("stop")]), "a");
    }

    #[test]
    fn usage_in_any_chunk_and_notation() {
        let usage = |data: &str| {
            let usage = read(stream([&text("a"), data, &finished("stop"), "[DONE]"]))
                .unwrap()
                .usage;
            (usage.prompt_tokens, usage.completion_tokens)
        };
        for (data, expected) in [
            (
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2.0}}"#,
                (3, 2),
            ),
            (
                r#"{"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":2}}}"#,
                (3, 2),
            ),
            (
                r#"{"choices":[{"delta":{},"usage":{"prompt_tokens":"3","completion_tokens":2}}]}"#,
                (3, 2),
            ),
            (
                r#"{"usage":{"prompt_tokens":-3,"completion_tokens":null}}"#,
                (0, 0),
            ),
            (
                r#"{"usage":{"prompt_tokens":NaN,"completion_tokens":1e999,"total":-Infinity}}"#,
                (0, 0),
            ),
            (r#"{"usage":[]}"#, (0, 0)),
        ] {
            assert_eq!(usage(data), expected, "{data}");
        }
        let counts = |prompt: &str, completion: &str| {
            format!(
                r#"{{"choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}}}"#
            )
        };
        let data = [
            &text("a"),
            &counts("3", "1"),
            &counts("3", "2"),
            &finished("stop"),
            &counts("0", "null"),
        ];
        let answer = read(stream(data.map(String::as_str))).unwrap();
        assert_eq!(
            (answer.usage.prompt_tokens, answer.usage.completion_tokens),
            (3, 2)
        );
    }

    #[test]
    fn finish_reason_may_be_missing_empty_or_repeated() {
        let end = "[DONE]";
        assert_eq!(
            read(stream([&text("a"), end])).unwrap().finish,
            FinishReason::Stop
        );
        let empty = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#;
        assert_eq!(
            read(stream([empty, empty, &finished("length")])).unwrap().finish,
            FinishReason::Length
        );
        let data = [&text("a"), &finished("tool_calls"), &finished("stop")];
        assert_eq!(
            read(stream(data.map(String::as_str))).unwrap().finish,
            FinishReason::ToolCalls
        );
        let late = [&*finished("stop"), &text("late"), end];
        assert_eq!(content(late), "late");
        assert_eq!(
            kind(read(stream([&text("a"), &finished("error")]))),
            ErrorKind::ServerError
        );
    }

    #[test]
    fn nothing_after_done_is_read() {
        assert_eq!(
            content([
                &text("a"),
                &finished("stop"),
                "[DONE]",
                &text("b"),
                r#"{"error":"x"}"#,
                "{"
            ]),
            "a"
        );
    }

    #[test]
    fn complete_answer_survives_a_broken_connection() {
        let broken = || Some(ModelError::Connection("reset".to_owned()));
        let usage = r#"{"choices":[],"usage":{"completion_tokens":1}}"#;
        for end in [&*finished("stop"), usage, "[DONE]"] {
            let body = stream([&text("a"), end]);
            assert_eq!(
                read_pieces([body.as_bytes()], broken()).unwrap().content,
                "a",
                "{end}"
            );
            let open = read_pieces([body.as_bytes()], Some(ModelError::TimedOut));
            assert_eq!(open.unwrap().content, "a", "{end}");
        }
        let body = stream([&text("a"), &finished("stop")]);
        let garbled = format!("{body}data: {{\"choices\n\n");
        assert_eq!(read(garbled).unwrap().content, "a");
        let unfinished = stream([&text("a")]);
        assert_eq!(
            kind(read_pieces([unfinished.as_bytes()], Some(ModelError::TimedOut))),
            ErrorKind::Timeout
        );
    }

    #[test]
    fn cut_stream_is_a_connection_error() {
        let early_usage = r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":1}}"#;
        for body in [
            stream([&text("a")]),
            stream([early_usage]),
            format!("{}data: {{\"choi", stream([&text("a")])),
        ] {
            assert_eq!(kind(read(body)), ErrorKind::Connection);
        }
    }

    #[test]
    fn last_event_without_an_empty_line_is_read() {
        let body = stream([&text("a"), &finished("stop")]);
        assert_eq!(read(body.trim_end()).unwrap().content, "a");
        let body = stream([&text("a"), "[DONE]"]);
        assert_eq!(read(body.trim_end()).unwrap().content, "a");
    }

    #[test]
    fn events_without_empty_lines_between_them() {
        let body = stream([&text("a"), &text("b"), &finished("stop"), "[DONE]"]).replace("\n\n", "\n");
        assert_eq!(read(body).unwrap().content, "ab");
    }

    #[test]
    fn split_surrogate_pairs_and_invalid_bytes() {
        let half = |escape: &str| format!(r#"{{"choices":[{{"delta":{{"content":"{escape}"}}}}]}}"#);
        let data = [
            &half(r"a\ud83e"),
            &half(r"\udd80b"),
            &half(r"\ud83e\udd80"),
            &finished("stop"),
        ];
        assert_eq!(content(data.map(String::as_str)), "a🦀b🦀");
        let mut body = b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff".to_vec();
        body.extend_from_slice(b"\"},\"finish_reason\":\"stop\"}]}\n\n");
        assert_eq!(read(body).unwrap().content, "\u{fffd}");
    }

    #[test]
    fn complete_json_answer() {
        let answer = r#"{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        for body in [
            answer.to_owned(),
            format!("\u{feff}\n {answer}\n"),
            format!("[{answer}]"),
            stream([answer]),
        ] {
            let answer = read(&body).unwrap();
            assert_eq!((&*answer.content, answer.usage.total()), ("a", 5), "{body}");
        }
        let calls = r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"add","arguments":{"x":1}}}]}}]}"#;
        let answer = read(calls).unwrap();
        assert_eq!(answer.tool_calls[0].arguments, r#"{"x":1}"#);
        assert_eq!(answer.finish, FinishReason::ToolCalls);
        let lines = [text("a"), text("b"), finished("stop")].join("\n");
        assert_eq!(read(lines).unwrap().content, "ab");
        assert_eq!(kind(read(answer_cut(calls))), ErrorKind::Connection);
        assert_eq!(kind(read("{}")), ErrorKind::Malformed);
        assert_eq!(kind(read(r#"{"choices":[]}"#)), ErrorKind::Malformed);
    }

    fn answer_cut(json: &str) -> String {
        json.split_at(json.len() / 2).0.to_owned()
    }

    #[test]
    fn final_message_does_not_repeat_the_deltas() {
        let message = r#"{"choices":[{"delta":null,"message":{"content":"ab"},"finish_reason":"stop"}]}"#;
        assert_eq!(content([&text("a"), &text("b"), message]), "ab");
        assert_eq!(content([message]), "ab");
    }

    #[test]
    fn old_form_of_a_tool_call() {
        let piece =
            |call: &str| format!(r#"{{"choices":[{{"delta":{{"content":null,"function_call":{call}}}}}]}}"#);
        let data = [
            &piece(r#"{"name":"add","arguments":""}"#),
            &piece(r#"{"arguments":"{}"}"#),
            &finished("function_call"),
        ];
        let answer = read(stream(data.map(String::as_str))).unwrap();
        assert_eq!(
            (&*answer.tool_calls[0].name, &*answer.tool_calls[0].arguments),
            ("add", "{}")
        );
    }

    #[test]
    fn errors_in_every_form() {
        let start = text("a");
        for (body, expected) in [
            (
                stream([r#"{"error":{"code":429,"message":"busy"}}"#]),
                ErrorKind::RateLimited,
            ),
            (
                stream([&start, r#"{"choices":[],"error":{"code":502,"message":"gone"}}"#]),
                ErrorKind::ServerError,
            ),
            (
                stream([
                    &start,
                    r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"error":{"code":502}}"#,
                ]),
                ErrorKind::ServerError,
            ),
            (
                stream([&start, r#"{"error":"overloaded"}"#]),
                ErrorKind::ServerError,
            ),
            (
                stream([&start, r#"[{"error":{"code":400,"message":"no"}}]"#]),
                ErrorKind::BadRequest,
            ),
            (
                stream([&start, r#"{"object":"error","message":"no","code":401}"#]),
                ErrorKind::Authentication,
            ),
            (
                stream([&start, r#"{"detail":"no","status":403}"#]),
                ErrorKind::Authentication,
            ),
            (
                format!(
                    "{}event: error\ndata: {{\"error\":{{\"code\":\"tool_use_failed\",\"status_code\":400}}}}\n\n",
                    stream([&start])
                ),
                ErrorKind::UnreadableToolCall,
            ),
            (
                format!("{}event: error\ndata: overloaded\n\n", stream([&start])),
                ErrorKind::ServerError,
            ),
            (
                format!(
                    "{}error: {{\"code\":500,\"message\":\"try again\"}}\n\n",
                    stream([&start])
                ),
                ErrorKind::ServerError,
            ),
            (
                r#"{"error":{"code":502,"message":"gone"}}"#.to_owned(),
                ErrorKind::ServerError,
            ),
            (
                r#"[{"error":{"code":429,"message":"busy"}}]"#.to_owned(),
                ErrorKind::RateLimited,
            ),
            (
                r#"{"detail":"no","code":"model_not_found"}"#.to_owned(),
                ErrorKind::UnknownModel,
            ),
        ] {
            assert_eq!(kind(read(&body)), expected, "{body}");
        }
    }

    #[test]
    fn bodies_that_are_not_answers_are_malformed() {
        for body in [
            "",
            "\u{feff}",
            "<html>\n\n</html>",
            "data: nonsense\n\n",
            "data: [DONE]\n\n",
            "data: {\"choices\n\n",
            "data: {}\n\n",
            "{nonsense}",
            "\n\n{}{nonsense}",
        ] {
            assert_eq!(kind(read(body)), ErrorKind::Malformed, "{body:?}");
        }
    }

    #[test]
    fn limits_are_enforced() {
        let large = text(&"x".repeat(1024 * 1024));
        let body = stream([&large, &large]);
        assert_eq!(kind(read_pieces([body.as_bytes()], None)), ErrorKind::TooLarge);
        let document = format!("{{\"choices\":[{}]}}", " ".repeat(MAX_DOCUMENT_BYTES));
        assert_eq!(
            kind(read_pieces([document.as_bytes()], None)),
            ErrorKind::TooLarge
        );
        assert_eq!(
            kind(read_pieces([vec![b'x'; 3 << 20].as_slice()], None)),
            ErrorKind::TooLarge
        );
    }
}
