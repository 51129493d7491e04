//! `x-request-id`: the caller's own if it is sane, else a new one; in the log, on every response, and on the run that it
//! starts.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    response::Response,
};
use errand_shared::Uuid;
use futures::FutureExt;
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use crate::http::error::{ApiError, Cause};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LEN: usize = 128;

/// The name of a request, for those who look for it later. It is ASCII.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Names the request, traces it, logs it once, with the cause of an error that its caller is not told.
pub(crate) fn name_and_log<F: Future<Output = Response>>(
    mut request: Request,
    answer: impl FnOnce(Request) -> F,
) -> impl Future<Output = Response> {
    let id = request
        .headers()
        .get(X_REQUEST_ID)
        .filter(|id| is_sane(id))
        // A copy: a clone would keep the whole buffer that the request came in.
        .and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok())
        .unwrap_or_else(new_id);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", request.id = ?id);
    let traced = traced(&request, name_of(route.as_ref()), &id);
    let started = Instant::now();
    let answering = answer(request)
        .instrument(traced.clone())
        .instrument(span.clone());
    answering.map(move |mut response| {
        response.headers_mut().insert(X_REQUEST_ID, id);
        let status = response.status().as_u16();
        traced.record("http.response.status_code", status);
        if status >= 500 {
            traced.record("otel.status_code", "ERROR");
        }
        drop(traced);
        let route = name_of(route.as_ref());
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let _entered = span.enter();
        match response.extensions_mut().remove::<Cause>() {
            Some(Cause(error)) if status >= 500 => {
                tracing::error!(%method, route, status, duration_ms, error = chain(&error), "a request failed");
            }
            _ => tracing::debug!(%method, route, status, duration_ms, "a request was answered"),
        }
        response
    })
}

fn name_of(route: Option<&MatchedPath>) -> &str {
    route.map_or("-", MatchedPath::as_str)
}

/// The request's span in a trace: the caller's if it has begun one. What operators ask every few seconds is in none.
fn traced(request: &Request, route: &str, id: &HeaderValue) -> Span {
    if !["/api/", "/auth/", "/admin", "/mcp"]
        .iter()
        .any(|traced| route.starts_with(traced))
    {
        return Span::none();
    }
    let method = request.method();
    let span = errand_shared::trace!(
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = Empty,
        request.id = ?id,
    );
    let parent = request.headers().get(TRACEPARENT);
    errand_shared::service::traces::adopt(&span, parent.and_then(|parent| parent.to_str().ok()));
    span
}

fn is_sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=MAX_LEN).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

fn new_id() -> HeaderValue {
    HeaderValue::try_from(Uuid::now_v7().to_string())
        .unwrap_or_else(|_never| HeaderValue::from_static("none"))
}

/// An error with its causes, for the log.
pub(crate) fn chain(error: &ApiError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
