//! What comes of a call, in the words that models and users know from the built-in tools.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::{Map, Value};

use crate::text;

/// Levels of what a result brings along as data.
const MOST_LEVELS: usize = 64;
/// Bytes of the first line of a failure.
const ERROR_BYTES: usize = 300;
/// Bytes of a name within a text of ours.
const NAME_BYTES: usize = 200;
/// Bytes that are left for words, however large the data is.
const LEAST_TEXT_BYTES: usize = 512;

/// What a call came to. A failed one is an answer too.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The `success` of the result.
    pub success: bool,
    /// The result: an object that begins with `success` and holds a `message`.
    pub result: Value,
}

/// How a call can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The arguments do not fit; nothing was asked of the server.
    Invalid,
    /// The server can't be asked, or what it was asked for changes nothing.
    Unavailable,
    /// The server's own answer.
    Failed,
    /// Whether the call took effect is not known.
    Unknown,
}

impl Code {
    /// The word that programs go by.
    const fn word(self) -> &'static str {
        match self {
            Self::Invalid => "VALIDATION_ERROR",
            Self::Unavailable => "TOOL_UNAVAILABLE",
            Self::Failed => "TOOL_FAILED",
            Self::Unknown => "OUTCOME_UNKNOWN",
        }
    }
}

impl Outcome {
    /// A failure of ours to tell of.
    pub(crate) fn failure(code: Code, message: &str) -> Self {
        let error = format!("{}: {}", code.word(), text::line(message, ERROR_BYTES));
        Self {
            success: false,
            result: Value::Object(Map::from_iter([
                ("success".to_owned(), Value::Bool(false)),
                ("error".to_owned(), Value::String(error)),
                ("message".to_owned(), Value::String(message.to_owned())),
            ])),
        }
    }

    /// The outcome of a call that was begun by a worker that is gone.
    pub fn unknown_after_crash() -> Self {
        Self::failure(
            Code::Unknown,
            "Whether this took effect is unknown, because the worker that had asked for it went away meanwhile. It is \
             not tried again by itself. Tell the user so, and look before trying again.",
        )
    }

    /// The outcome of a call that was not made, because its run is to end.
    pub fn not_begun() -> Self {
        Self::failure(
            Code::Unavailable,
            "The run was cancelled before this call was made; nothing was done.",
        )
    }

    /// What a server answered, with at most so many bytes of text and data.
    pub(crate) fn answered(answer: CallToolResult, most_bytes: usize) -> Self {
        let is_error = answer.is_error == Some(true);
        let (data, left_out) = data(answer.structured_content, most_bytes);
        let data_bytes = data.as_ref().map_or(0, |(_, bytes)| *bytes);
        let mut message = words(&answer.content, data.as_ref().map(|(data, _)| data));
        if let Some(left_out) = left_out {
            add(&mut message, &left_out);
        }
        if message.is_empty() {
            message.push_str(match (is_error, &data) {
                (true, _) => "The tool failed and did not say why.",
                (false, None) => "Done; the tool gave no text.",
                (false, Some(_)) => "Done.",
            });
        }
        let room = most_bytes.saturating_sub(data_bytes).max(LEAST_TEXT_BYTES);
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

/// The data of an answer with its bytes, or a word on why it is left out.
fn data(written: Option<Value>, most_bytes: usize) -> (Option<(Value, usize)>, Option<String>) {
    let Some(written) = written.filter(|written| !written.is_null()) else {
        return (None, None);
    };
    let bytes = serde_json::to_string(&written).map_or(usize::MAX, |text| text.len());
    if bytes > most_bytes {
        let word = format!("[data of {bytes} bytes is left out: only {most_bytes} are allowed]");
        return (None, Some(word));
    }
    let Some(data) = text::clean_value(written, MOST_LEVELS) else {
        let word = format!("[data nested more than {MOST_LEVELS} levels deep is left out]");
        return (None, Some(word));
    };
    (Some((data, bytes)), None)
}

/// The texts of an answer, and the names of what is no text. A text that only repeats the data is left out.
fn words(content: &[ContentBlock], data: Option<&Value>) -> String {
    let mut words = String::new();
    for block in content {
        match block {
            ContentBlock::Text(block) if repeats(&block.text, data) => {}
            ContentBlock::Text(block) => add(&mut words, &block.text),
            ContentBlock::Image(image) => {
                add(&mut words, &unshown("image", &image.mime_type, image.data.len()));
            }
            ContentBlock::Audio(audio) => {
                add(&mut words, &unshown("audio", &audio.mime_type, audio.data.len()));
            }
            ContentBlock::Resource(embedded) => match &embedded.resource {
                ResourceContents::TextResourceContents { uri, text, .. } => {
                    add(&mut words, &format!("{}:\n{text}", text::line(uri, NAME_BYTES)));
                }
                ResourceContents::BlobResourceContents { uri, blob, .. } => {
                    add(&mut words, &unshown("resource", uri, blob.len()));
                }
                _ => add(&mut words, "[a resource of a kind that is not known here]"),
            },
            ContentBlock::ResourceLink(link) => {
                let (name, uri) = (
                    text::line(&link.name, NAME_BYTES),
                    text::line(&link.uri, NAME_BYTES),
                );
                add(&mut words, &format!("[{name}: {uri}]"));
            }
            _ => add(&mut words, "[content of a kind that is not known here]"),
        }
    }
    words
}

fn repeats(text: &str, data: Option<&Value>) -> bool {
    data.is_some_and(|data| serde_json::from_str::<Value>(text).is_ok_and(|parsed| parsed == *data))
}

/// Something in Base64 that is named in place of being shown.
fn unshown(kind: &str, name: &str, base64: usize) -> String {
    let bytes = base64 / 4 * 3;
    format!(
        "[{kind} {}, some {bytes} bytes, not shown]",
        text::line(name, NAME_BYTES)
    )
}

fn add(words: &mut String, more: &str) {
    if !words.is_empty() {
        words.push_str("\n\n");
    }
    words.push_str(more);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(content: Vec<ContentBlock>, most_bytes: usize) -> Value {
        Outcome::answered(CallToolResult::success(content), most_bytes).result
    }

    #[test]
    fn texts_are_joined_and_what_is_none_is_named() {
        let content = vec![
            ContentBlock::text("one\0"),
            ContentBlock::image("AAAA".repeat(100), "image/png\n"),
            ContentBlock::embedded_text("file:///a", "two"),
        ];
        assert_eq!(
            answered(content, 10_000),
            json!({"success": true, "message": "one\n\n[image image/png, some 300 bytes, not shown]\n\nfile:///a:\ntwo"})
        );
        assert_eq!(
            answered(Vec::new(), 10_000),
            json!({"success": true, "message": "Done; the tool gave no text."})
        );
    }

    #[test]
    fn data_is_told_once() {
        let outcome = Outcome::answered(
            CallToolResult::structured(json!({"sum": 3, "note": "a\0"})),
            10_000,
        );
        assert_eq!(outcome.result["data"], json!({"sum": 3, "note": "a"}));
        let outcome = Outcome::answered(CallToolResult::structured(json!({"sum": 3})), 10_000);
        assert_eq!(
            outcome.result,
            json!({"success": true, "message": "Done.", "data": {"sum": 3}})
        );
    }

    #[test]
    fn what_is_too_large_is_cut_or_left_out_and_says_so() {
        let text = answered(vec![ContentBlock::text("x".repeat(100_000))], 2048);
        let message = text["message"].as_str().unwrap();
        assert!(
            message.len() <= 2048 && message.ends_with("x […]"),
            "{}",
            message.len()
        );
        let big = json!({"x": "y".repeat(5000)});
        let result = CallToolResult::structured(big);
        let outcome = Outcome::answered(result, 2048);
        assert!(outcome.result.get("data").is_none());
        let message = outcome.result["message"].as_str().unwrap();
        assert!(message.len() <= 2048, "{}", message.len());
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let outcome = Outcome::answered(CallToolResult::structured(deep), 2048);
        assert!(outcome.result.get("data").is_none());
    }

    #[test]
    fn a_failed_tool_is_an_answer() {
        let failed = CallToolResult::error(vec![ContentBlock::text("no such\nfile")]);
        let outcome = Outcome::answered(failed, 2048);
        assert!(!outcome.success);
        assert_eq!(
            outcome.result,
            json!({"success": false, "error": "TOOL_FAILED: no such file", "message": "no such\nfile"})
        );
    }
}
