//! Server-sent events: splits an answer into chunks as a model streams it.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode},
    response::Response,
};
use serde::Serialize;

use super::response::with_type;
use crate::wire::{CallDelta, Chunk, Delta, Envelope, FunctionDelta, Reply, Usage};

/// Minimum length of a fragment of tool arguments, in bytes.
const ARGUMENT_FRAGMENT: usize = 12;

/// The events of a complete answer, including `[DONE]`.
pub(super) fn events(envelope: &Envelope, reply: &Reply, usage: Option<Usage>) -> Vec<Bytes> {
    let mut events = Vec::new();
    if reply.choices {
        let role = Some("assistant");
        events.push(event(&Chunk::delta(
            envelope,
            Delta {
                role,
                content: Some(""),
                ..Delta::default()
            },
            None,
        )));
        for word in words(reply.content.as_deref().unwrap_or_default()) {
            events.push(event(&Chunk::delta(
                envelope,
                Delta {
                    content: Some(word),
                    ..Delta::default()
                },
                None,
            )));
        }
        for word in words(reply.refusal.as_deref().unwrap_or_default()) {
            events.push(event(&Chunk::delta(
                envelope,
                Delta {
                    refusal: Some(word),
                    ..Delta::default()
                },
                None,
            )));
        }
        calls(envelope, reply, &mut events);
        events.push(event(&Chunk::delta(
            envelope,
            Delta::default(),
            Some(reply.finish_reason),
        )));
    }
    if let Some(usage) = usage {
        events.push(event(&Chunk::usage(envelope, usage)));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

/// A chunk with the text `text`.
pub(super) fn text_event(envelope: &Envelope, text: &str) -> Bytes {
    event(&Chunk::delta(
        envelope,
        Delta {
            content: Some(text),
            ..Delta::default()
        },
        None,
    ))
}

/// A response with a body of events.
pub(super) fn response(body: Body) -> Response {
    with_type(
        StatusCode::OK,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
        body,
    )
}

/// Appends, for each call, a chunk with its ID and name, then its arguments in fragments.
fn calls(envelope: &Envelope, reply: &Reply, events: &mut Vec<Bytes>) {
    for (index, call) in reply.tool_calls.iter().enumerate() {
        let mut send = |delta: CallDelta<'_>| {
            let delta = Delta {
                tool_calls: Some([delta]),
                ..Delta::default()
            };
            events.push(event(&Chunk::delta(envelope, delta, None)));
        };
        send(CallDelta {
            index,
            id: Some(&call.id),
            kind: Some("function"),
            function: FunctionDelta {
                name: Some(&call.function.name),
                arguments: "",
            },
        });
        for arguments in argument_fragments(&call.function.arguments) {
            send(CallDelta {
                index,
                id: None,
                kind: None,
                function: FunctionDelta {
                    name: None,
                    arguments,
                },
            });
        }
    }
}

fn event(chunk: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"data: ");
    if let Err(error) = serde_json::to_writer(&mut bytes, chunk) {
        tracing::error!(%error, "could not serialize a chunk");
    }
    bytes.extend_from_slice(b"\n\n");
    Bytes::from(bytes)
}

/// Splits a text into words, each with the white space that follows it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

/// Splits arguments into fragments, at character boundaries.
fn argument_fragments(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = rest.ceil_char_boundary(ARGUMENT_FRAGMENT);
        let (piece, tail) = rest.split_at_checked(cut)?;
        rest = tail;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_concatenate_to_the_text() {
        for text in [
            "",
            "one",
            "two words",
            "  lines\n\nand 牛奶を買う 🥛 ",
            "é".repeat(40).as_str(),
        ] {
            assert_eq!(words(text).collect::<String>(), text);
            assert_eq!(argument_fragments(text).collect::<String>(), text);
        }
    }
}
