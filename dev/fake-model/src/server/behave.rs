//! Carries out a behaviour for one request.

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
    connection::Connection,
    response::{error_status, json, with_type},
    sse, unix_seconds,
};
use crate::{
    Answer, Behaviour,
    latency::{request_rng, sleep},
    record::{InFlight, RecordedRequest},
    wire::{ChatRequest, Completion, Envelope, Reply, ToolCall, Usage},
};

/// One request and its response.
pub(super) struct Exchange {
    pub(super) state: Arc<State>,
    pub(super) connection: Connection,
    pub(super) recorded: Arc<RecordedRequest>,
    pub(super) in_flight: InFlight,
}

/// Waits for the sampled latency, then carries out `behaviour`.
pub(super) async fn behave(exchange: Exchange, behaviour: Behaviour) -> Response {
    let mut rng = request_rng(exchange.state.seed, exchange.in_flight.number);
    let wait = exchange.state.latency.sample(&mut rng);
    if !wait.is_zero() {
        sleep(wait).await;
    }
    let mut behaviour = behaviour;
    loop {
        behaviour = match behaviour {
            Behaviour::Delay(wait, inner) => {
                sleep(wait).await;
                *inner
            }
            Behaviour::Gate(gate, inner) => {
                gate.pass().await;
                *inner
            }
            Behaviour::Mix(choices) => choose(choices, &mut rng),
            other => return respond(exchange, other, rng).await,
        };
    }
}

/// Returns one of `choices` at random, by weight.
fn choose(choices: Vec<(u32, Behaviour)>, rng: &mut SmallRng) -> Behaviour {
    let total: u64 = choices.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let mut at = if total == 0 { 0 } else { rng.random_range(0..total) };
    for (weight, behaviour) in choices {
        if at < u64::from(weight) {
            return behaviour;
        }
        at -= u64::from(weight);
    }
    Behaviour::Demo
}

async fn respond(exchange: Exchange, behaviour: Behaviour, mut rng: SmallRng) -> Response {
    let reply = match behaviour {
        Behaviour::Demo => brain_reply(&exchange, &mut rng),
        Behaviour::Reply(text) => Reply::text(text),
        Behaviour::ToolCalls(calls) => Reply::calls(with_ids(calls, &mut rng)),
        Behaviour::ReplyWithToolCalls { content, calls } => Reply {
            content: Some(content),
            ..Reply::calls(with_ids(calls, &mut rng))
        },
        Behaviour::DuplicateToolCallIds(calls) => {
            let id = call_id(&mut rng);
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
        } => return error_status(code, retry_after.as_deref(), body),
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
        Behaviour::DisconnectMidStream { after_chunks } => {
            return disconnect_mid_stream(exchange, after_chunks, &mut rng);
        }
        Behaviour::Drip { chunk_every } => return drip(exchange, chunk_every, &mut rng),
        Behaviour::Disconnect => {
            exchange.connection.abort();
            return std::future::pending().await;
        }
        // `behave` has unwrapped the behaviours with an inner behaviour.
        Behaviour::Hang | Behaviour::Delay(..) | Behaviour::Gate(..) | Behaviour::Mix(_) => {
            return hang(&exchange).await;
        }
    };
    send(exchange, reply, &mut rng).await
}

/// Waits until the server stops, then closes the connection.
async fn hang(exchange: &Exchange) -> Response {
    exchange.state.stopping.cancelled().await;
    exchange.connection.abort();
    std::future::pending().await
}

fn brain_reply(exchange: &Exchange, rng: &mut SmallRng) -> Reply {
    let Some(request) = &exchange.recorded.request else {
        return Reply::text("");
    };
    match (exchange.state.brain)(request) {
        Answer::Text(text) => Reply::text(text),
        Answer::ToolCalls(calls) => Reply::calls(with_ids(
            calls
                .into_iter()
                .map(|call| (call.name, call.arguments.to_string())),
            rng,
        )),
    }
}

fn with_ids(calls: impl IntoIterator<Item = (String, String)>, rng: &mut SmallRng) -> Vec<ToolCall> {
    calls
        .into_iter()
        .map(|(name, arguments)| ToolCall::new(call_id(rng), name, arguments))
        .collect()
}

fn call_id(rng: &mut SmallRng) -> String {
    format!("call_{:016x}", rng.random::<u64>())
}

fn envelope(exchange: &Exchange, rng: &mut SmallRng) -> Envelope {
    Envelope {
        id: format!("chatcmpl-{:016x}", rng.random::<u64>()),
        created: unix_seconds(),
        model: exchange.state.model.clone(),
    }
}

/// Sends a reply as a stream or as one object, as the request asks.
async fn send(exchange: Exchange, reply: Reply, rng: &mut SmallRng) -> Response {
    let envelope = envelope(&exchange, rng);
    let delay = exchange.state.token_delay;
    let fallback = ChatRequest::default();
    let request = exchange.recorded.request.as_ref().unwrap_or(&fallback);
    let usage = Usage::estimate(request, &reply);
    if request.wants_stream() {
        let events = sse::events(&envelope, &reply, request.wants_usage_chunk().then_some(usage));
        return sse::response(paced(events, delay, exchange));
    }
    if !delay.is_zero() {
        let tokens = u32::try_from(usage.completion_tokens).unwrap_or(u32::MAX);
        sleep(delay.saturating_mul(tokens)).await;
    }
    json(StatusCode::OK, &Completion::new(&envelope, &reply, usage))
}

/// Streams `events` with `delay` before each. The request is in flight until the stream ends.
fn paced(events: Vec<Bytes>, delay: Duration, exchange: Exchange) -> Body {
    if delay.is_zero() {
        let events = stream::iter(events).map(move |event| {
            let _in_flight = &exchange;
            Ok::<_, std::convert::Infallible>(event)
        });
        return Body::from_stream(events);
    }
    Body::from_stream(stream::iter(events).then(move |event| {
        let _in_flight = &exchange;
        async move {
            sleep(delay).await;
            Ok::<_, std::convert::Infallible>(event)
        }
    }))
}

/// Streams words until the server stops.
fn drip(exchange: Exchange, every: Duration, rng: &mut SmallRng) -> Response {
    let envelope = envelope(&exchange, rng);
    let body = stream::unfold((exchange, envelope), move |(exchange, envelope)| async move {
        tokio::select! {
            () = sleep(every) => {}
            () = exchange.state.stopping.cancelled() => return None,
        }
        Some((
            Ok::<_, std::convert::Infallible>(sse::text_event(&envelope, "drip ")),
            (exchange, envelope),
        ))
    });
    sse::response(Body::from_stream(body))
}

/// Sends `after_chunks` words (or, without streaming, half an object) and closes the connection.
fn disconnect_mid_stream(exchange: Exchange, after_chunks: usize, rng: &mut SmallRng) -> Response {
    let envelope = envelope(&exchange, rng);
    let streamed = exchange
        .recorded
        .request
        .as_ref()
        .is_some_and(ChatRequest::wants_stream);
    let chunks: Vec<Bytes> = if streamed {
        (0..after_chunks)
            .map(|n| sse::text_event(&envelope, &format!("word{n} ")))
            .collect()
    } else {
        vec![Bytes::from_static(
            br#"{"id":"chatcmpl-cut","object":"chat.completion","choices":[{"index":0,"mess"#,
        )]
    };
    let body = stream::iter(chunks)
        .map(Ok::<_, std::convert::Infallible>)
        .chain(stream::once(async move {
            // Yield so that the chunks so far are flushed.
            tokio::task::yield_now().await;
            exchange.connection.abort();
            std::future::pending::<()>().await;
            drop(exchange);
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
