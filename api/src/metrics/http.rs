//! Requests by method, route and status. A route is the pattern that matched, so that there are as many as we have.

use std::{
    fmt::{Error, Write as _},
    hash::{Hash, Hasher},
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

use crate::state::App;

/// Metrics of requests.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram>,
    in_flight: Gauge,
}

impl HttpMetrics {
    pub(super) fn new(registry: &mut Metrics) -> Self {
        Self {
            requests: registry.family("http_requests", "Requests answered", Counter::default),
            durations: registry.family("http_request_duration_seconds", "Until the answer's head", || {
                Span::Long.histogram()
            }),
            in_flight: registry.gauge("http_requests_in_flight", "Requests not answered yet"),
        }
    }
}

/// Measures a request.
pub(crate) fn measure<F: Future<Output = Response>>(
    app: App,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> impl Future<Output = Response> {
    let asked = Asked {
        method: name(request.method()),
        route: Route(request.extensions().get::<MatchedPath>().cloned()),
    };
    let began = Instant::now();
    let held = Held::new(&app.metrics.http.in_flight);
    answer(request).map(move |response| {
        drop(held);
        let metrics = &app.metrics.http;
        observe(&metrics.durations.get_or_create(&asked), began.elapsed());
        let answered = Answered {
            method: asked.method,
            route: asked.route,
            status: response.status().as_u16(),
        };
        metrics.requests.get_or_create(&answered).inc();
        response
    })
}

/// The methods that we have; anybody may make up others.
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
struct Asked {
    method: &'static str,
    route: Route,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: Route,
    status: u16,
}

/// The pattern that matched; none if no route did.
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
