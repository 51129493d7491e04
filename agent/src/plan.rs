//! Turns the tool calls that a model wrote into calls to execute: checks and cleans IDs, names and arguments.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Limits, ToolCall, clean, ids::Ids};

/// Maximum length of a tool name in characters. Providers reject transcripts with longer names.
const MAX_NAME_CHARS: usize = 64;

/// Maximum nesting of the arguments. They are stored and later read as part of other JSON, whose parser allows 128 levels.
const MAX_DEPTH: usize = 32;

/// Replaces refused arguments in the transcript, because some servers parse the arguments of earlier calls.
pub(crate) const NO_ARGUMENTS: &str = "{}";

/// A checked tool call, to be executed or answered with its refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCall {
    /// Position in its step, from 0.
    pub index: u16,
    /// Unique in its run, 1 to 255 characters.
    pub id: String,
    /// 1 to 64 characters of `A-Z a-z 0-9 _ -`. The tool may not exist.
    pub name: String,
    /// The cleaned arguments, or the reason why the call is refused: malformed JSON, not an object, too large, or too many
    /// calls.
    pub arguments: Result<Map<String, Value>, String>,
}

#[derive(Serialize)]
struct Refusal<'a> {
    success: bool,
    error: String,
    message: &'a str,
}

impl PlannedCall {
    /// The result of a refused call as JSON text: `{success: false, error: "VALIDATION_ERROR: …", message}`. `None` if the
    /// call must be executed.
    pub fn refusal(&self) -> Option<String> {
        let reason = self.arguments.as_ref().err()?;
        Some(failed_result("VALIDATION_ERROR", reason))
    }

    /// The arguments for the journal. Null if they were refused.
    pub fn journal_arguments(&self) -> Value {
        self.arguments
            .as_ref()
            .map_or(Value::Null, |arguments| Value::Object(arguments.clone()))
    }

    /// The call as it appears in the transcript.
    pub(crate) fn as_tool_call(&self) -> ToolCall {
        ToolCall {
            id: self.id.clone(),
            name: self.name.clone(),
            arguments: self
                .arguments
                .as_ref()
                .map_or_else(|_| NO_ARGUMENTS.to_owned(), object_text),
        }
    }
}

/// The result of a failed call as JSON text.
pub(crate) fn failed_result(code: &str, message: &str) -> String {
    let result = Refusal {
        success: false,
        error: format!("{code}: {message}"),
        message,
    };
    serde_json::to_string(&result).unwrap_or_else(|_| r#"{"success":false}"#.to_owned())
}

pub(crate) fn object_text(object: &Map<String, Value>) -> String {
    serde_json::to_string(object).unwrap_or_else(|_| NO_ARGUMENTS.to_owned())
}

/// Plans the calls of one step. `cut_off` means that the model reached the token limit. Missing arguments are then an error
/// instead of an empty object.
pub(crate) fn plan(
    calls: Vec<ToolCall>,
    limits: &Limits,
    cut_off: bool,
    step: u16,
    ids: &mut Ids,
) -> Vec<PlannedCall> {
    calls
        .into_iter()
        .zip(0_u16..)
        .map(|(call, index)| {
            let position = usize::from(index);
            let (name, is_exact) = tool_name(call.name);
            let arguments = if position >= limits.max_calls_per_step {
                Err(format!(
                    "at most {} tool calls are allowed at once; repeat this one later",
                    limits.max_calls_per_step
                ))
            } else if is_exact {
                arguments(&call.arguments, limits, cut_off)
            } else {
                // The name in the transcript is another one, which may be that of a tool.
                Err("no tool has this name; use the exact name of a tool".to_owned())
            };
            PlannedCall {
                index,
                id: ids.assign(&clean::text(call.id), step, position),
                name,
                arguments,
            }
        })
        .collect()
}

fn arguments(text: &str, limits: &Limits, cut_off: bool) -> Result<Map<String, Value>, String> {
    if text.len() > limits.max_argument_bytes {
        return Err(format!(
            "the arguments have {} bytes; at most {} are allowed",
            text.len(),
            limits.max_argument_bytes
        ));
    }
    if text.trim().is_empty() && !cut_off {
        // Many servers send an empty text for a call without arguments.
        return Ok(Map::new());
    }
    let parsed = match serde_json::from_str(text) {
        // Some servers encode the JSON text twice.
        Ok(Value::String(encoded)) => serde_json::from_str(&encoded).or(Ok(Value::String(encoded))),
        parsed => parsed,
    };
    match parsed {
        // No arguments: Groq sends `null`, servers written in PHP an empty list.
        Ok(Value::Null) => Ok(Map::new()),
        Ok(Value::Array(items)) if items.is_empty() => Ok(Map::new()),
        Ok(Value::String(text)) if text.trim().is_empty() => Ok(Map::new()),
        Ok(Value::Object(object))
            if object
                .values()
                .any(|value| clean::is_deeper(value, MAX_DEPTH - 1)) =>
        {
            Err(format!(
                "the arguments are nested more than {MAX_DEPTH} levels deep"
            ))
        }
        Ok(Value::Object(object)) => Ok(clean::object(object)),
        Ok(_) => Err("the arguments are not a JSON object".to_owned()),
        Err(_) if cut_off => {
            Err("the arguments were cut off by the length limit; use shorter ones".to_owned())
        }
        Err(error) => Err(format!("the arguments are not valid JSON: {error}")),
    }
}

/// Replaces characters that are not allowed in tool names. Providers reject transcripts with such names, so every later step
/// of the run would fail. Also returns whether the name is the model's, apart from U+0000 and white space around it.
fn tool_name(written: String) -> (String, bool) {
    let written = clean::text(written);
    let written = written.trim();
    let name: String = written
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() || char == '-' {
                char
            } else {
                '_'
            }
        })
        .take(MAX_NAME_CHARS)
        .collect();
    if name.is_empty() {
        return ("unnamed".to_owned(), false);
    }
    let is_exact = name == written;
    (name, is_exact)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
        ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    fn one(arguments: &str, cut_off: bool) -> PlannedCall {
        let calls = vec![call("c", "measure", arguments)];
        plan(calls, &Limits::default(), cut_off, 0, &mut Ids::default()).remove(0)
    }

    #[test]
    fn arguments_must_be_a_json_object() {
        let cases = [
            (r#"{"title":"a"}"#, Ok(json!({"title": "a"}))),
            ("{}", Ok(json!({}))),
            ("", Ok(json!({}))),
            (" \n", Ok(json!({}))),
            (r#"{"title":"a\u0000b"}"#, Ok(json!({"title": "ab"}))),
            ("null", Ok(json!({}))),
            ("[]", Ok(json!({}))),
            (r#""{\"title\":\"a\"}""#, Ok(json!({"title": "a"}))),
            (r#""null""#, Ok(json!({}))),
            (r#""""#, Ok(json!({}))),
            (r#""\"{}\"""#, Err("not a JSON object")),
            ("[1]", Err("not a JSON object")),
            (r#""text""#, Err("not a JSON object")),
            ("{\"title\":", Err("not valid JSON")),
            ("title=a", Err("not valid JSON")),
            (r#"{"title":"\ud800"}"#, Err("not valid JSON")),
            (r#"{"n":1e999}"#, Err("not valid JSON")),
        ];
        for (text, expected) in cases {
            let planned = one(text, false);
            match (planned.arguments.clone(), expected) {
                (Ok(got), Ok(want)) => assert_eq!(Value::Object(got), want, "{text}"),
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{text}: {reason}"),
                (got, want) => panic!("{text}: got {got:?}, want {want:?}"),
            }
        }
    }

    #[test]
    fn extreme_nesting_is_refused_without_a_crash() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(one(&text, false).arguments.is_err());
    }

    #[test]
    fn nesting_is_limited() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(one(&nested(MAX_DEPTH), false).arguments.is_ok());
        let reason = one(&nested(MAX_DEPTH + 1), false).arguments.unwrap_err();
        assert!(reason.contains("levels deep"), "{reason}");
    }

    #[test]
    fn cut_off_arguments_are_refused() {
        for text in ["", "{\"title\":\"mi"] {
            let reason = one(text, true).arguments.unwrap_err();
            assert!(reason.contains("cut off"), "{text}: {reason}");
        }
        assert!(
            one(r#"{"title":"milk"}"#, true).arguments.is_ok(),
            "a complete call of a cut-off answer is executed"
        );
    }

    #[test]
    fn large_arguments_are_refused() {
        let limit = Limits::default().max_argument_bytes;
        let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(limit - 8));
        assert_eq!(fits.len(), limit);
        assert!(one(&fits, false).arguments.is_ok());
        let too_large = format!("{fits} ");
        assert!(one(&too_large, false).arguments.unwrap_err().contains("bytes"));
    }

    #[test]
    fn excess_calls_of_a_step_are_refused() {
        let limits = Limits {
            max_calls_per_step: 2,
            ..Limits::default()
        };
        let calls = (0..4).map(|n| call(&n.to_string(), "measure", "{}")).collect();
        let planned = plan(calls, &limits, false, 0, &mut Ids::default());
        let accepted: Vec<bool> = planned.iter().map(|call| call.arguments.is_ok()).collect();
        assert_eq!(accepted, [true, true, false, false]);
        assert_eq!(planned[3].index, 3);
    }

    #[test]
    fn tool_names_contain_only_allowed_characters() {
        let cases = [
            ("add_item", "add_item", true),
            (" add\0_item\n", "add_item", true),
            ("add.item", "add_item", false),
            ("functions.add-item", "functions_add-item", false),
            ("удали", "_____", false),
            ("", "unnamed", false),
            ("\0", "unnamed", false),
        ];
        for (written, name, is_exact) in cases {
            assert_eq!(
                tool_name(written.to_owned()),
                (name.to_owned(), is_exact),
                "{written:?}"
            );
        }
        let (name, is_exact) = tool_name("x".repeat(1_000));
        assert_eq!((name.len(), is_exact), (64, false));
    }

    #[test]
    fn call_is_refused_if_its_name_is_changed() {
        let calls = vec![call("c", "add.item", "{}")];
        let planned = plan(calls, &Limits::default(), false, 0, &mut Ids::default()).remove(0);
        assert_eq!(planned.name, "add_item");
        assert!(planned.refusal().unwrap().contains("no tool has this name"));
    }

    #[test]
    fn refused_call_has_a_result_and_no_arguments() {
        let planned = one("nonsense", false);
        let result: Value = serde_json::from_str(&planned.refusal().unwrap()).unwrap();
        assert_eq!(result["success"], json!(false));
        assert!(
            result["error"]
                .as_str()
                .unwrap()
                .starts_with("VALIDATION_ERROR: ")
        );
        assert!(result["message"].is_string());
        assert_eq!(planned.journal_arguments(), Value::Null);
        assert_eq!(planned.as_tool_call().arguments, "{}");

        let good = one(r#"{"title":"milk"}"#, false);
        assert_eq!(good.refusal(), None);
        assert_eq!(good.journal_arguments(), json!({"title": "milk"}));
        assert_eq!(good.as_tool_call().arguments, r#"{"title":"milk"}"#);
    }
}
