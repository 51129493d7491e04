//! An answer as server-sent events: cut into pieces as a model would speak it.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode},
    response::Response,
};
use serde::Serialize;

use super::answer::with_type;
use crate::wire::{CallDelta, Chunk, Delta, FunctionDelta, Head, Reply, Usage};

/// How long a piece of tool arguments is, in bytes at least.
const ARGUMENT_PIECE: usize = 12;

/// The events of a whole answer, `[DONE]` included.
pub(super) fn events(head: &Head, reply: &Reply, usage: Option<Usage>) -> Vec<Bytes> {
    let mut events = Vec::new();
    if reply.choices {
        let role = Some("assistant");
        events.push(event(&Chunk::delta(
            head,
            Delta {
                role,
                content: Some(""),
                ..Delta::default()
            },
            None,
        )));
        for piece in pieces(reply.content.as_deref().unwrap_or_default()) {
            events.push(event(&Chunk::delta(
                head,
                Delta {
                    content: Some(piece),
                    ..Delta::default()
                },
                None,
            )));
        }
        for piece in pieces(reply.refusal.as_deref().unwrap_or_default()) {
            events.push(event(&Chunk::delta(
                head,
                Delta {
                    refusal: Some(piece),
                    ..Delta::default()
                },
                None,
            )));
        }
        calls(head, reply, &mut events);
        events.push(event(&Chunk::delta(
            head,
            Delta::default(),
            Some(reply.finish_reason),
        )));
    }
    if let Some(usage) = usage {
        events.push(event(&Chunk::usage(head, usage)));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

/// A chunk that says `text`.
pub(super) fn text_event(head: &Head, text: &str) -> Bytes {
    event(&Chunk::delta(
        head,
        Delta {
            content: Some(text),
            ..Delta::default()
        },
        None,
    ))
}

/// A response with this body of events.
pub(super) fn response(body: Body) -> Response {
    with_type(
        StatusCode::OK,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
        body,
    )
}

/// Each call as a chunk with its id and name, and then its arguments in pieces.
fn calls(head: &Head, reply: &Reply, events: &mut Vec<Bytes>) {
    for (index, call) in reply.tool_calls.iter().enumerate() {
        let mut send = |delta: CallDelta<'_>| {
            let delta = Delta {
                tool_calls: Some([delta]),
                ..Delta::default()
            };
            events.push(event(&Chunk::delta(head, delta, None)));
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
        for arguments in chopped(&call.function.arguments) {
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

/// A text in words, each with the white space after it; together they are the text.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

/// Arguments in pieces of some bytes, never within a character.
fn chopped(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = rest.ceil_char_boundary(ARGUMENT_PIECE);
        let (piece, tail) = rest.split_at_checked(cut)?;
        rest = tail;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up_to_the_text() {
        for text in [
            "",
            "one",
            "two words",
            "  lines\n\nand 牛奶を買う 🥛 ",
            "é".repeat(40).as_str(),
        ] {
            assert_eq!(pieces(text).collect::<String>(), text);
            assert_eq!(chopped(text).collect::<String>(), text);
        }
    }
}
