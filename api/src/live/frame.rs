//! The JSON frames of a WebSocket.

use errand_shared::Uuid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    chat::IfRunning,
    http::{
        error::{ApiError, Problem},
        extract,
    },
};

/// A frame from the client.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Request {
    /// Sends a message.
    Chat {
        /// An id chosen by the client, returned in the answer.
        id: String,
        message: String,
        #[serde(default)]
        conversation_id: Option<Uuid>,
        #[serde(default)]
        idempotency_key: Option<String>,
        #[serde(default)]
        if_running: IfRunning,
        #[serde(default)]
        agent: Option<String>,
    },
    /// Subscribes to the events of a run after an event number, or from the start.
    Subscribe {
        run_id: Uuid,
        #[serde(default)]
        after_seq: Option<i64>,
    },
    /// Cancels a run.
    Cancel { run_id: Uuid },
    /// Approves or declines a tool call.
    Approve {
        run_id: Uuid,
        tool_call_id: String,
        approve: bool,
    },
    /// Requests a pong.
    Ping {},
}

/// A frame from the server that is not an event.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Answer<'a> {
    /// A message was stored.
    Accepted {
        id: &'a str,
        run_id: Uuid,
        conversation_id: Uuid,
    },
    /// A frame failed.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        problem: Problem,
    },
    /// The answer to a ping.
    Pong {},
}

/// Parses a frame. Also returns its `id`, even if the frame is invalid.
pub(super) fn parse(text: &str) -> (Option<String>, Result<Request, ApiError>) {
    let id = match serde_json::from_str(text) {
        Ok(Value::Object(mut members)) => match members.remove("id") {
            Some(Value::String(id)) => Some(id),
            _ => None,
        },
        _ => None,
    };
    (id, extract::parse(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem_of(text: &str) -> (Option<String>, u16, String) {
        let (id, parsed) = parse(text);
        let problem = parsed.unwrap_err().problem();
        (id, problem.status, problem.detail)
    }

    #[test]
    fn frames_are_parsed_with_and_without_optional_fields() {
        let id = Uuid::from_u128(7);
        let cases = [
            (
                r#"{"type":"chat","id":"a","message":"hi"}"#.to_owned(),
                Request::Chat {
                    id: "a".to_owned(),
                    message: "hi".to_owned(),
                    conversation_id: None,
                    idempotency_key: None,
                    if_running: IfRunning::Queue,
                    agent: None,
                },
            ),
            (
                format!(
                    r#"{{"type":"chat","id":"a","message":"hi","conversation_id":"{id}","idempotency_key":"k","if_running":"reject","agent":"todo","more":1}}"#
                ),
                Request::Chat {
                    id: "a".to_owned(),
                    message: "hi".to_owned(),
                    conversation_id: Some(id),
                    idempotency_key: Some("k".to_owned()),
                    if_running: IfRunning::Reject,
                    agent: Some("todo".to_owned()),
                },
            ),
            (
                format!(r#"{{"type":"subscribe","run_id":"{id}"}}"#),
                Request::Subscribe {
                    run_id: id,
                    after_seq: None,
                },
            ),
            (
                format!(r#"{{"type":"subscribe","run_id":"{id}","after_seq":9}}"#),
                Request::Subscribe {
                    run_id: id,
                    after_seq: Some(9),
                },
            ),
            (
                format!(r#"{{"type":"cancel","run_id":"{id}"}}"#),
                Request::Cancel { run_id: id },
            ),
            (
                format!(r#"{{"type":"approve","run_id":"{id}","tool_call_id":"c","approve":true}}"#),
                Request::Approve {
                    run_id: id,
                    tool_call_id: "c".to_owned(),
                    approve: true,
                },
            ),
            (r#"{"type":"ping"}"#.to_owned(), Request::Ping {}),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(&text).1.unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn an_invalid_frame_is_a_problem_with_the_id_of_the_frame() {
        let name = Some("a".to_owned());
        assert_eq!(problem_of("").1, 400);
        assert_eq!(problem_of("{").1, 400);
        assert_eq!(problem_of("[]").1, 422);
        assert_eq!(problem_of("{}").1, 422);
        let unknown = problem_of(r#"{"type":"dance","id":"a"}"#);
        assert_eq!((unknown.0, unknown.1), (name.clone(), 422));
        let missing = problem_of(r#"{"type":"chat","id":"a"}"#);
        assert_eq!((missing.0, missing.1), (name, 422));
        assert!(missing.2.contains("message"), "{}", missing.2);
        assert_eq!(problem_of(r#"{"type":"cancel","run_id":"x"}"#).1, 422);
        assert_eq!(problem_of(&"[".repeat(10_000)).1, 400);
    }
}
