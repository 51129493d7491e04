//! `x-request-id`: identifies a request in the log, on its response and on the run that it starts. A caller may choose it.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue},
    response::Response,
};
use errand_shared::Uuid;
use futures::FutureExt;
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use super::error::{ApiError, Cause};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LEN: usize = 128;

/// The id of a request, as ASCII.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Assigns an ID to the request, traces it, and logs it once. The log has the cause of an internal error, which the caller does
/// not see.
pub(crate) fn identify_and_log<F: Future<Output = Response>>(
    mut request: Request,
    answer: impl FnOnce(Request) -> F,
) -> impl Future<Output = Response> {
    let id = request
        .headers()
        .get(X_REQUEST_ID)
        .filter(|id| is_valid(id))
        // A copy: a clone would keep the whole buffer of the request in memory.
        .and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok())
        .unwrap_or_else(new_id);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", request.id = ?id);
    let trace = trace_span(&request, route_name(route.as_ref()), &id);
    let started = Instant::now();
    let answering = answer(request).instrument(trace.clone()).instrument(span.clone());
    answering.map(move |mut response| {
        response.headers_mut().insert(X_REQUEST_ID, id);
        let status = response.status().as_u16();
        trace.record("http.response.status_code", status);
        if status >= 500 {
            trace.record("otel.status_code", "ERROR");
        }
        drop(trace);
        let route = route_name(route.as_ref());
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let _entered = span.enter();
        match response.extensions_mut().remove::<Cause>() {
            Some(Cause(error)) if status >= 500 => {
                tracing::error!(%method, route, status, duration_ms, error = chain(&error), "request failed");
            }
            _ => tracing::debug!(%method, route, status, duration_ms, "request handled"),
        }
        response
    })
}

fn route_name(route: Option<&MatchedPath>) -> &str {
    route.map_or("-", MatchedPath::as_str)
}

/// The request's span in the caller's trace, or in a new one. Health checks and pages are not traced.
fn trace_span(request: &Request, route: &str, id: &HeaderValue) -> Span {
    if !["/api/", "/auth/", "/admin", "/mcp"]
        .iter()
        .any(|prefix| route.starts_with(prefix))
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

fn is_valid(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=MAX_LEN).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

fn new_id() -> HeaderValue {
    HeaderValue::try_from(Uuid::now_v7().to_string())
        .unwrap_or_else(|_never| HeaderValue::from_static("none"))
}

/// An error with its chain of causes, for the log.
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
