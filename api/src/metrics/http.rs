//! Metrics of HTTP requests by method, route and status. The route is the matched pattern, so the number of labels is bounded.

use std::{
    fmt::{Error, Write as _},
    hash::{Hash, Hasher},
    sync::Arc,
};

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    response::Response,
};
use errand_shared::service::metrics::{
    Counter, EncodeLabelValue, Family, Gauge, Held, Histogram, LabelValueEncoder, Metrics, Span, observe,
};
use futures::FutureExt;
use prometheus_client::encoding::EncodeLabelSet;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<ResponseLabels, Counter>,
    durations: Family<RequestLabels, Histogram>,
    in_flight: Gauge,
}

impl HttpMetrics {
    pub(super) fn new(registry: &mut Metrics) -> Self {
        Self {
            requests: registry.family("http_requests", "Handled requests", Counter::default),
            durations: registry.family(
                "http_request_duration_seconds",
                "Time until the head of the response",
                || Span::Long.histogram(),
            ),
            in_flight: registry.gauge("http_requests_in_flight", "Requests being handled"),
        }
    }
}

pub(crate) fn measure<F: Future<Output = Response>>(
    metrics: Arc<HttpMetrics>,
    request: Request,
    handle: impl FnOnce(Request) -> F,
) -> impl Future<Output = Response> {
    let request_labels = RequestLabels {
        method: name(request.method()),
        route: Route(request.extensions().get::<MatchedPath>().cloned()),
    };
    let began = Instant::now();
    let held = Held::new(&metrics.in_flight);
    handle(request).map(move |response| {
        drop(held);
        observe(&metrics.durations.get_or_create(&request_labels), began.elapsed());
        let response_labels = ResponseLabels {
            method: request_labels.method,
            route: request_labels.route,
            status: response.status().as_u16(),
        };
        metrics.requests.get_or_create(&response_labels).inc();
        response
    })
}

/// The name of a supported method. Clients may send any other.
const fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: Route,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    method: &'static str,
    route: Route,
    status: u16,
}

/// The matched pattern. None if no route matched.
#[derive(Clone, Debug)]
struct Route(Option<MatchedPath>);

impl Route {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("none", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
        encoder.write_str(self.as_str())
    }
}
