//! The API's metrics, as `docs/METRICS.md` has them.

mod database;
mod http;

pub(crate) use database::DatabaseGauges;
pub(crate) use http::{HttpMetrics, measure};

use std::sync::Arc;

use errand_shared::{
    service::metrics::{By, Counter, Gauge, Histogram, Metrics, Span, flag, whole},
    signals::notifier::Notifier,
    storage::Pool,
};
use tokio_util::task::TaskTracker;

use crate::{chat::waiter::Waiter, settings::HttpSettings};

errand_shared::label_values! {
    /// What became of a message.
    pub(crate) enum Post: "outcome" {
        Stored = "stored",
        Attached = "attached",
        Refused = "refused",
        RateLimit = "rate_limit",
        OpenRuns = "open_runs",
        QueueFull = "queue_full",
        Unavailable = "unavailable",
    }
}

errand_shared::label_values! {
    /// How callers are kept from coming too fast.
    pub(crate) enum Limit: "limit" {
        Chat = "chat",
        Mcp = "mcp",
        AuthAddress = "auth_address",
        AuthAccount = "auth_account",
    }
}

/// The API's metrics, and the registry that tells them.
#[derive(Debug)]
pub(crate) struct ApiMetrics {
    registry: Metrics,
    /// Requests.
    pub(crate) http: HttpMetrics,
    /// Open connections to the main listener.
    pub(crate) connections: Gauge,
    /// Messages.
    pub(crate) posts: By<Post, Counter>,
    /// Until they were stored.
    pub(crate) post_duration: Histogram,
    /// Requests that came too fast.
    pub(crate) limited: By<Limit, Counter>,
    /// Streams of events.
    pub(crate) streams: Gauge,
    /// What Postgres has.
    pub(crate) book: Arc<DatabaseGauges>,
}

impl ApiMetrics {
    /// Metrics of nothing yet.
    pub(crate) fn new(settings: &HttpSettings) -> Self {
        let mut registry = Metrics::new("errand-api", env!("CARGO_PKG_VERSION"));
        let connections_max = f64::from(settings.max_connections);
        registry.reading("http_connections_max", "Connections, at most", move || {
            connections_max
        });
        Self {
            http: HttpMetrics::new(&mut registry),
            connections: registry.gauge("http_connections", "Open connections to the main listener"),
            posts: registry.counters("posts", "Messages by what became of them"),
            post_duration: registry.histogram(
                "post_duration_seconds",
                "From a checked message to its commit",
                Span::Short,
            ),
            limited: registry.counters("rate_limited", "Requests refused for coming too fast"),
            streams: registry.gauge("event_streams", "Open streams of server-sent events"),
            book: DatabaseGauges::new(&mut registry),
            registry,
        }
    }

    /// Tells also of these parts.
    pub(crate) fn watch(&mut self, pool: &Pool, notifier: &Notifier, waiter: &Waiter, sockets: &TaskTracker) {
        let registry = &mut self.registry;
        registry.pools(&[("main", pool.clone())]);
        registry.notifier(notifier);
        let told = waiter.clone();
        registry.reading("redis_listening", "1 while Redis is heard", move || {
            flag(told.is_told())
        });
        let waiter = waiter.clone();
        registry.reading("waiters", "Requests that wait for a run", move || {
            whole(waiter.len())
        });
        let sockets = sockets.clone();
        registry.reading("websockets", "Open WebSockets", move || whole(sockets.len()));
    }

    /// All of it, in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric can't be written.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        self.registry.text()
    }
}
