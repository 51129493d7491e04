//! Does what a behaviour says, for one request.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode},
    response::Response,
};
use futures::{StreamExt as _, stream};
use rand::{RngExt as _, rngs::SmallRng};

use super::{
    State,
    answer::{json_of, scripted_status, with_type},
    connection::Connection,
    pause::pause,
    sse, unix_seconds,
};
use crate::{
    Behaviour, brain,
    latency::dice,
    record::{InFlight, Recorded},
    wire::{ChatRequest, Completion, Head, Reply, ToolCall, Usage},
};

/// One request and all that answering it takes.
pub(super) struct Call {
    pub(super) state: Arc<State>,
    pub(super) connection: Connection,
    pub(super) recorded: Arc<Recorded>,
    pub(super) in_flight: InFlight,
}

/// Waits as the latency says, then behaves.
pub(super) async fn perform(call: Call, behaviour: Behaviour) -> Response {
    let mut dice = dice(call.state.seed, call.in_flight.number);
    let wait = call.state.latency.sample(&mut dice);
    if !wait.is_zero() {
        pause(wait).await;
    }
    let mut behaviour = behaviour;
    loop {
        behaviour = match behaviour {
            Behaviour::Delay(wait, inner) => {
                pause(wait).await;
                *inner
            }
            Behaviour::Gate(gate, inner) => {
                gate.pass().await;
                *inner
            }
            Behaviour::Mix(choices) => draw(choices, &mut dice),
            settled => return behave(call, settled, dice).await,
        };
    }
}

/// One of `choices`, by weight.
fn draw(choices: Vec<(u32, Behaviour)>, dice: &mut SmallRng) -> Behaviour {
    let total: u64 = choices.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let mut at = if total == 0 {
        0
    } else {
        dice.random_range(0..total)
    };
    for (weight, behaviour) in choices {
        if at < u64::from(weight) {
            return behaviour;
        }
        at -= u64::from(weight);
    }
    Behaviour::Demo
}

async fn behave(call: Call, behaviour: Behaviour, mut dice: SmallRng) -> Response {
    let reply = match behaviour {
        Behaviour::Demo => brained(&call, &mut dice),
        Behaviour::Reply(text) => Reply::text(text),
        Behaviour::ToolCalls(calls) => Reply::calls(with_ids(calls, &mut dice)),
        Behaviour::ReplyWithToolCalls { content, calls } => Reply {
            content: Some(content),
            ..Reply::calls(with_ids(calls, &mut dice))
        },
        Behaviour::DuplicateToolCallIds(calls) => {
            let id = call_id(&mut dice);
            let calls = calls
                .into_iter()
                .map(|(name, arguments)| ToolCall::new(id.clone(), name, arguments));
            Reply::calls(calls.collect())
        }
        Behaviour::Finish { reason, content } => Reply {
            finish_reason: reason,
            ..Reply::text(content)
        },
        Behaviour::Refusal(text) => Reply {
            content: None,
            refusal: Some(text),
            ..Reply::text("")
        },
        Behaviour::EmptyChoices => Reply {
            choices: false,
            ..Reply::text("")
        },
        Behaviour::NullContent => Reply {
            content: None,
            ..Reply::text("")
        },
        Behaviour::Status {
            code,
            retry_after,
            body,
        } => return scripted_status(code, retry_after.as_deref(), body),
        Behaviour::RawBody {
            status,
            content_type,
            bytes,
        } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let content_type = HeaderValue::from_str(&content_type)
                .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
            return with_type(status, content_type, bytes);
        }
        Behaviour::DisconnectMidStream { after_chunks } => return cut_short(call, after_chunks, &mut dice),
        Behaviour::Drip { chunk_every } => return drip(call, chunk_every, &mut dice),
        Behaviour::Disconnect => {
            call.connection.cut();
            return std::future::pending().await;
        }
        // Those that wrap another were unwrapped above.
        Behaviour::Hang | Behaviour::Delay(..) | Behaviour::Gate(..) | Behaviour::Mix(_) => {
            return hang(&call).await;
        }
    };
    deliver(call, reply, &mut dice).await
}

/// Waits for ever, or until the server stops; the caller gets no answer either way.
async fn hang(call: &Call) -> Response {
    call.state.stopping.cancelled().await;
    call.connection.cut();
    std::future::pending().await
}

fn brained(call: &Call, dice: &mut SmallRng) -> Reply {
    let Some(request) = &call.recorded.request else {
        return Reply::text("");
    };
    match brain::answer(request) {
        brain::Answer::Say(text) => Reply::text(text),
        brain::Answer::Call(calls) => Reply::calls(with_ids(
            calls
                .into_iter()
                .map(|call| (call.name, call.arguments.to_string())),
            dice,
        )),
    }
}

fn with_ids(calls: impl IntoIterator<Item = (String, String)>, dice: &mut SmallRng) -> Vec<ToolCall> {
    calls
        .into_iter()
        .map(|(name, arguments)| ToolCall::new(call_id(dice), name, arguments))
        .collect()
}

fn call_id(dice: &mut SmallRng) -> String {
    format!("call_{:016x}", dice.random::<u64>())
}

fn head(call: &Call, dice: &mut SmallRng) -> Head {
    Head {
        id: format!("chatcmpl-{:016x}", dice.random::<u64>()),
        created: unix_seconds(),
        model: call.state.model.clone(),
    }
}

/// Sends a reply the way the request asks for.
async fn deliver(call: Call, reply: Reply, dice: &mut SmallRng) -> Response {
    let head = head(&call, dice);
    let delay = call.state.token_delay;
    let fallback = ChatRequest::default();
    let request = call.recorded.request.as_ref().unwrap_or(&fallback);
    let usage = Usage::estimate(request, &reply);
    if request.wants_stream() {
        let events = sse::events(&head, &reply, request.wants_usage_chunk().then_some(usage));
        return sse::response(paced(events, delay, call));
    }
    if !delay.is_zero() {
        let tokens = u32::try_from(usage.completion_tokens).unwrap_or(u32::MAX);
        pause(delay.saturating_mul(tokens)).await;
    }
    json_of(StatusCode::OK, &Completion::new(&head, &reply, usage))
}

/// A body of events, `delay` apart; `call` counts as in flight until it ends.
fn paced(events: Vec<Bytes>, delay: Duration, call: Call) -> Body {
    if delay.is_zero() {
        let events = stream::iter(events).map(move |event| {
            let _in_flight = &call;
            Ok::<_, std::convert::Infallible>(event)
        });
        return Body::from_stream(events);
    }
    Body::from_stream(stream::iter(events).then(move |event| {
        let _in_flight = &call;
        async move {
            pause(delay).await;
            Ok::<_, std::convert::Infallible>(event)
        }
    }))
}

/// Streams words for ever.
fn drip(call: Call, every: Duration, dice: &mut SmallRng) -> Response {
    let head = head(&call, dice);
    let body = stream::unfold((call, head), move |(call, head)| async move {
        tokio::select! {
            () = pause(every) => {}
            () = call.state.stopping.cancelled() => return None,
        }
        Some((
            Ok::<_, std::convert::Infallible>(sse::text_event(&head, "drip ")),
            (call, head),
        ))
    });
    sse::response(Body::from_stream(body))
}

/// Streams `after_chunks` words and cuts the connection; not streamed, half an object and the cut.
fn cut_short(call: Call, after_chunks: usize, dice: &mut SmallRng) -> Response {
    let head = head(&call, dice);
    let streamed = call
        .recorded
        .request
        .as_ref()
        .is_some_and(ChatRequest::wants_stream);
    let chunks: Vec<Bytes> = if streamed {
        (0..after_chunks)
            .map(|n| sse::text_event(&head, &format!("word{n} ")))
            .collect()
    } else {
        vec![Bytes::from_static(
            br#"{"id":"chatcmpl-cut","object":"chat.completion","choices":[{"index":0,"mess"#,
        )]
    };
    let body = stream::iter(chunks)
        .map(Ok::<_, std::convert::Infallible>)
        .chain(stream::once(async move {
            // What was written so far is flushed while this yields.
            tokio::task::yield_now().await;
            call.connection.cut();
            std::future::pending::<()>().await;
            drop(call);
            Ok(Bytes::new())
        }));
    if streamed {
        sse::response(Body::from_stream(body))
    } else {
        with_type(
            StatusCode::OK,
            HeaderValue::from_static("application/json"),
            Body::from_stream(body),
        )
    }
}
