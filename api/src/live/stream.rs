//! Streams the events of a run as server-sent events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, KeepAlive, Sse},
    },
};
use errand_shared::{Uuid, service::metrics::Held};
use futures::{Stream, StreamExt, stream};

use super::{
    event::LiveEvent,
    run_subscription::RunSubscription,
    state::LiveState,
    subscribers::{Delivery, Subscription},
};
use crate::http::{error::ApiError, query::Params};

const LAST_EVENT_ID: &str = "last-event-id";
/// Disables response buffering in nginx.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The number of the last event that the client received, from `Last-Event-ID` or `after_seq`. The default is 0.
///
/// # Errors
/// [`ApiError::Invalid`] if it is not a whole number.
pub(crate) fn last_seen_event(headers: &HeaderMap, params: &Params) -> Result<i64, ApiError> {
    let (name, value) = match headers.get(LAST_EVENT_ID) {
        Some(value) => ("Last-Event-ID", value.to_str().ok().map(str::to_owned)),
        None => match params.text("after_seq")? {
            Some(value) => ("after_seq", Some(value.to_owned())),
            None => return Ok(0),
        },
    };
    value
        .as_deref()
        .map(str::trim)
        // A browser that has received no event sends no header or an empty one.
        .map(|value| if value.is_empty() { "0" } else { value })
        .and_then(|value| value.parse().ok())
        .filter(|after| *after >= 0)
        .ok_or_else(|| ApiError::invalid(name, "must be the number of an event"))
}

/// Whether the caller accepts a stream of events.
pub(crate) fn accepts_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let essence = range.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/event-stream")
        })
}

/// Subscribes to a user's events, and waits a moment until the Redis subscription is active.
pub(crate) async fn subscribe(live: &LiveState, user_id: Uuid) -> Subscription {
    let mut events = live.subscribers.subscribe(user_id);
    if !events.wait_until_active(live.redis.timeout()).await {
        tracing::debug!("subscription starts before Redis is connected");
    }
    events
}

/// The event stream of a run.
pub(crate) struct RunStream {
    live: LiveState,
    events: Subscription,
    run: RunSubscription,
    ready: VecDeque<Arc<LiveEvent>>,
    _open: Held,
}

impl RunStream {
    /// A stream that starts with the events `first`.
    pub(crate) fn new(
        live: LiveState,
        events: Subscription,
        run: RunSubscription,
        first: Vec<Arc<LiveEvent>>,
    ) -> Self {
        Self {
            _open: Held::new(&live.streams),
            live,
            events,
            run,
            ready: first.into(),
        }
    }

    /// The next event. None after the final event, when the process shuts down, or if the client is too slow. The client can
    /// then reconnect and continue.
    async fn next(&mut self) -> Option<Arc<LiveEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.run.has_ended() {
                return None;
            }
            let stopping = self.live.chat.lifecycle.stopped();
            let delivery = tokio::select! {
                delivery = self.events.next() => delivery?,
                () = stopping => return None,
            };
            match delivery {
                Delivery::Event(event) if self.run.is_missing_reply(&event) => {
                    match self.run.catch_up(&self.live).await {
                        Ok(events) => self.ready = events.into(),
                        // The final event contains the reply too.
                        Err(error) => {
                            tracing::debug!(%error, "cannot read the missing reply; sending only the final event");
                            self.ready = self.run.accept(&event).then_some(event).into_iter().collect();
                        }
                    }
                }
                Delivery::Event(event) if self.run.accept(&event) => return Some(event),
                Delivery::Deleted(run_id) if run_id == self.run.run_id() => {
                    return self.run.deleted(self.live.chat.clock.now());
                }
                Delivery::Event(_) | Delivery::Deleted(_) => {}
                Delivery::Resync => match self.run.catch_up(&self.live).await {
                    Ok(events) => self.ready = events.into(),
                    Err(error) => {
                        tracing::debug!(%error, "cannot read the missed events; closing the stream");
                        return None;
                    }
                },
            }
        }
    }
}

/// The response with the events of a run.
pub(crate) fn event_stream_response(run: RunStream) -> Response {
    let interval = run.live.settings.sse_keepalive_seconds;
    let events = events(run).map(|event| {
        Ok::<_, Infallible>(
            SseEvent::default()
                .id(event.seq.to_string())
                .event(event.kind())
                .data(event.json.as_str()),
        )
    });
    let keep_alive = KeepAlive::new().interval(interval).text("");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn events(run: RunStream) -> impl Stream<Item = Arc<LiveEvent>> {
    stream::unfold(run, async |mut run| {
        let event = run.next().await?;
        Some((event, run))
    })
}
