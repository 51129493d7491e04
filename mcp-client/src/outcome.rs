//! The outcome of a call, in the format of the built-in tools.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::{Map, Value};

use crate::text;

/// Maximum nesting of structured content.
const MAX_LEVELS: usize = 64;
/// Maximum length of the `error` member in bytes.
const MAX_ERROR_BYTES: usize = 300;
/// Maximum length of a name in a placeholder, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// Bytes reserved for the message, however large the structured content is.
const MIN_TEXT_BYTES: usize = 512;

/// The outcome of a call, successful or failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The `success` member of the result.
    pub success: bool,
    /// The result: an object whose first member is `success`. It contains a `message`.
    pub result: Value,
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The arguments are invalid. Nothing was sent to the server.
    Invalid,
    /// The server can't be reached, or a read-only call failed.
    Unavailable,
    /// The server reported a failure.
    Failed,
    /// It is unknown whether the call took effect.
    Unknown,
}

impl Code {
    /// The error code for programs.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "VALIDATION_ERROR",
            Self::Unavailable => "TOOL_UNAVAILABLE",
            Self::Failed => "TOOL_FAILED",
            Self::Unknown => "OUTCOME_UNKNOWN",
        }
    }
}

impl Outcome {
    pub(crate) fn failure(code: Code, message: &str) -> Self {
        let error = format!("{}: {}", code.as_str(), text::line(message, MAX_ERROR_BYTES));
        Self {
            success: false,
            result: Value::Object(Map::from_iter([
                ("success".to_owned(), Value::Bool(false)),
                ("error".to_owned(), Value::String(error)),
                ("message".to_owned(), Value::String(message.to_owned())),
            ])),
        }
    }

    /// The outcome of a call that a crashed worker had started.
    pub fn unknown_after_crash() -> Self {
        Self::failure(
            Code::Unknown,
            "It is unknown whether this took effect, because the worker stopped during the call. It is not repeated \
             automatically. Inform the user, and check the state before trying again.",
        )
    }

    /// The outcome of a call that was not made, because its run was cancelled.
    pub fn not_started() -> Self {
        Self::failure(
            Code::Unavailable,
            "The run was cancelled before this call was made. Nothing was done.",
        )
    }

    /// Converts a server's result, with at most `max_bytes` of text and structured content.
    pub(crate) fn from_result(result: CallToolResult, max_bytes: usize) -> Self {
        let is_error = result.is_error == Some(true);
        let (data, omission) = data(result.structured_content, max_bytes);
        let data_bytes = data.as_ref().map_or(0, |(_, bytes)| *bytes);
        let mut message = message_text(&result.content, data.as_ref().map(|(data, _)| data));
        if let Some(omission) = omission {
            append(&mut message, &omission);
        }
        if message.is_empty() {
            message.push_str(match (is_error, &data) {
                (true, _) => "The tool failed without an error message.",
                (false, None) => "Done. The tool returned no text.",
                (false, Some(_)) => "Done.",
            });
        }
        let room = max_bytes.saturating_sub(data_bytes).max(MIN_TEXT_BYTES);
        let message = text::clean(&message, room);
        let mut outcome = if is_error {
            Self::failure(Code::Failed, &message)
        } else {
            Self {
                success: true,
                result: Value::Object(Map::from_iter([
                    ("success".to_owned(), Value::Bool(true)),
                    ("message".to_owned(), Value::String(message)),
                ])),
            }
        };
        if let (Value::Object(result), Some((data, _))) = (&mut outcome.result, data) {
            result.insert("data".to_owned(), data);
        }
        outcome
    }
}

/// Returns the cleaned structured content and its size, or a note if it is omitted.
fn data(content: Option<Value>, max_bytes: usize) -> (Option<(Value, usize)>, Option<String>) {
    let Some(content) = content.filter(|content| !content.is_null()) else {
        return (None, None);
    };
    let bytes = serde_json::to_string(&content).map_or(usize::MAX, |text| text.len());
    if bytes > max_bytes {
        let note = format!("[data of {bytes} bytes omitted; at most {max_bytes} are allowed]");
        return (None, Some(note));
    }
    let Some(data) = text::clean_value(content, MAX_LEVELS) else {
        let note = format!("[data nested more than {MAX_LEVELS} levels deep omitted]");
        return (None, Some(note));
    };
    (Some((data, bytes)), None)
}

/// Joins the texts of a result, with placeholders for other content. Omits a text that only repeats the structured content.
fn message_text(content: &[ContentBlock], data: Option<&Value>) -> String {
    let mut message = String::new();
    for block in content {
        match block {
            ContentBlock::Text(block) if repeats(&block.text, data) => {}
            ContentBlock::Text(block) => append(&mut message, &block.text),
            ContentBlock::Image(image) => {
                append(
                    &mut message,
                    &placeholder("image", &image.mime_type, image.data.len()),
                );
            }
            ContentBlock::Audio(audio) => {
                append(
                    &mut message,
                    &placeholder("audio", &audio.mime_type, audio.data.len()),
                );
            }
            ContentBlock::Resource(embedded) => match &embedded.resource {
                ResourceContents::TextResourceContents { uri, text, .. } => {
                    append(
                        &mut message,
                        &format!("{}:\n{text}", text::line(uri, MAX_NAME_BYTES)),
                    );
                }
                ResourceContents::BlobResourceContents { uri, blob, .. } => {
                    append(&mut message, &placeholder("resource", uri, blob.len()));
                }
                _ => append(&mut message, "[resource of an unknown kind]"),
            },
            ContentBlock::ResourceLink(link) => {
                let (name, uri) = (
                    text::line(&link.name, MAX_NAME_BYTES),
                    text::line(&link.uri, MAX_NAME_BYTES),
                );
                append(&mut message, &format!("[{name}: {uri}]"));
            }
            _ => append(&mut message, "[content of an unknown kind]"),
        }
    }
    message
}

fn repeats(text: &str, data: Option<&Value>) -> bool {
    data.is_some_and(|data| serde_json::from_str::<Value>(text).is_ok_and(|parsed| parsed == *data))
}

/// A placeholder for Base64 content.
fn placeholder(kind: &str, name: &str, base64: usize) -> String {
    let bytes = base64 / 4 * 3;
    format!(
        "[{kind} {}, about {bytes} bytes, omitted]",
        text::line(name, MAX_NAME_BYTES)
    )
}

fn append(message: &mut String, text: &str) {
    if !message.is_empty() {
        message.push_str("\n\n");
    }
    message.push_str(text);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result_of(content: Vec<ContentBlock>, max_bytes: usize) -> Value {
        Outcome::from_result(CallToolResult::success(content), max_bytes).result
    }

    #[test]
    fn joins_texts_and_names_other_content() {
        let content = vec![
            ContentBlock::text("one\0"),
            ContentBlock::image("AAAA".repeat(100), "image/png\n"),
            ContentBlock::embedded_text("file:///a", "two"),
        ];
        assert_eq!(
            result_of(content, 10_000),
            json!({"success": true, "message": "one\n\n[image image/png, about 300 bytes, omitted]\n\nfile:///a:\ntwo"})
        );
        assert_eq!(
            result_of(Vec::new(), 10_000),
            json!({"success": true, "message": "Done. The tool returned no text."})
        );
    }

    #[test]
    fn structured_content_is_not_repeated_as_text() {
        let outcome = Outcome::from_result(
            CallToolResult::structured(json!({"sum": 3, "note": "a\0"})),
            10_000,
        );
        assert_eq!(outcome.result["data"], json!({"sum": 3, "note": "a"}));
        let outcome = Outcome::from_result(CallToolResult::structured(json!({"sum": 3})), 10_000);
        assert_eq!(
            outcome.result,
            json!({"success": true, "message": "Done.", "data": {"sum": 3}})
        );
    }

    #[test]
    fn oversized_content_is_truncated_or_omitted() {
        let text = result_of(vec![ContentBlock::text("x".repeat(100_000))], 2048);
        let message = text["message"].as_str().unwrap();
        assert!(
            message.len() <= 2048 && message.ends_with("x […]"),
            "{}",
            message.len()
        );
        let big = json!({"x": "y".repeat(5000)});
        let result = CallToolResult::structured(big);
        let outcome = Outcome::from_result(result, 2048);
        assert!(outcome.result.get("data").is_none());
        let message = outcome.result["message"].as_str().unwrap();
        assert!(message.len() <= 2048, "{}", message.len());
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let outcome = Outcome::from_result(CallToolResult::structured(deep), 2048);
        assert!(outcome.result.get("data").is_none());
    }

    #[test]
    fn failed_tool_is_an_outcome() {
        let failed = CallToolResult::error(vec![ContentBlock::text("no such\nfile")]);
        let outcome = Outcome::from_result(failed, 2048);
        assert!(!outcome.success);
        assert_eq!(
            outcome.result,
            json!({"success": false, "error": "TOOL_FAILED: no such file", "message": "no such\nfile"})
        );
    }
}
