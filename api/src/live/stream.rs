//! A run's events as server-sent events.

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

use super::{Delivery, LiveEvent, RunSubscription, Subscription};
use crate::{
    http::{error::ApiError, query::Params},
    state::App,
};

const LAST_EVENT_ID: &str = "last-event-id";
/// Asks proxies not to gather what is sent.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The last event that a reader has seen, by `Last-Event-ID` or else by `after_seq`; 0 for none.
///
/// # Errors
/// [`ApiError::Invalid`] if it is no whole number.
pub(crate) fn after_of(headers: &HeaderMap, params: &Params) -> Result<i64, ApiError> {
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
        // A browser that has seen no number sends none, or an empty one.
        .map(|value| if value.is_empty() { "0" } else { value })
        .and_then(|value| value.parse().ok())
        .filter(|after| *after >= 0)
        .ok_or_else(|| ApiError::invalid(name, "must be the number of an event"))
}

/// Whether the caller would rather have events than an answer.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
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

/// Begins to read a user's events, and waits a moment until they are heard.
pub(crate) async fn begin(app: &App, user_id: Uuid) -> Subscription {
    let mut reading = app.readers.read(user_id);
    if !reading.is_heard(app.redis.timeout()).await {
        tracing::debug!("a reader begins before its events can be heard");
    }
    reading
}

/// A run on its way to one reader.
pub(crate) struct Streamed {
    app: App,
    reading: Subscription,
    follow: RunSubscription,
    ready: VecDeque<Arc<LiveEvent>>,
    _counted: Held,
}

impl Streamed {
    /// A stream that begins with these events.
    pub(crate) fn new(
        app: App,
        reading: Subscription,
        follow: RunSubscription,
        first: Vec<Arc<LiveEvent>>,
    ) -> Self {
        Self {
            _counted: Held::new(&app.metrics.streams),
            app,
            reading,
            follow,
            ready: first.into(),
        }
    }

    /// The next event. None after the final one, if the process stops, or if the reader is too slow: then it can come
    /// back and go on.
    async fn next(&mut self) -> Option<Arc<LiveEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.follow.has_ended() {
                return None;
            }
            let stopped = self.app.lifecycle.stopped();
            let live = tokio::select! {
                live = self.reading.next() => live?,
                () = stopped => return None,
            };
            match live {
                Delivery::Event(event) if self.follow.lacks_reply(&event) => {
                    match self.follow.catch_up(&self.app).await {
                        Ok(events) => self.ready = events.into(),
                        // The end has the reply as well.
                        Err(error) => {
                            tracing::debug!(%error, "a reply is told by its end only");
                            self.ready = self.follow.admits(&event).then_some(event).into_iter().collect();
                        }
                    }
                }
                Delivery::Event(event) if self.follow.admits(&event) => return Some(event),
                Delivery::Gone(run_id) if run_id == self.follow.run_id() => {
                    return self.follow.gone(self.app.clock.now());
                }
                Delivery::Event(_) | Delivery::Gone(_) => {}
                Delivery::Resync => match self.follow.catch_up(&self.app).await {
                    Ok(events) => self.ready = events.into(),
                    Err(error) => {
                        tracing::debug!(%error, "a reader is sent away to come back");
                        return None;
                    }
                },
            }
        }
    }
}

/// The response that streams a run.
pub(crate) fn respond(streamed: Streamed) -> Response {
    let interval = streamed.app.settings.live.sse_keepalive_seconds;
    let events = events(streamed).map(|event| {
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

fn events(streamed: Streamed) -> impl Stream<Item = Arc<LiveEvent>> {
    stream::unfold(streamed, async |mut streamed| {
        let event = streamed.next().await?;
        Some((event, streamed))
    })
}
