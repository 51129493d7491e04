//! The metrics of the API, listed in `docs/METRICS.md`.

mod database;
mod http;

pub(crate) use database::{DEAD_AFTER_SECONDS, DatabaseGauges};
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
    /// The outcome of posting a message.
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
    /// A rate limit.
    pub(crate) enum Limit: "limit" {
        Chat = "chat",
        Mcp = "mcp",
        AuthAddress = "auth_address",
        AuthAccount = "auth_account",
    }
}

/// The metrics of the API and their registry.
#[derive(Debug)]
pub(crate) struct ApiMetrics {
    registry: Metrics,
    pub(crate) http: Arc<HttpMetrics>,
    pub(crate) connections: Gauge,
    pub(crate) posts: By<Post, Counter>,
    pub(crate) post_duration: Histogram,
    pub(crate) limited: By<Limit, Counter>,
    pub(crate) streams: Gauge,
    /// Gauges that are read from Postgres.
    pub(crate) database: Arc<DatabaseGauges>,
}

impl ApiMetrics {
    pub(crate) fn new(settings: &HttpSettings) -> Self {
        let mut registry = Metrics::new("errand-api", env!("CARGO_PKG_VERSION"));
        let connections_max = f64::from(settings.max_connections);
        registry.reading(
            "http_connections_max",
            "Maximum number of open connections to the main listener",
            move || connections_max,
        );
        Self {
            http: Arc::new(HttpMetrics::new(&mut registry)),
            connections: registry.gauge("http_connections", "Open connections to the main listener"),
            posts: registry.counters("posts", "Messages by outcome"),
            post_duration: registry.histogram(
                "post_duration_seconds",
                "Time from a valid message to its commit",
                Span::Short,
            ),
            limited: registry.counters("rate_limited", "Requests rejected by a rate limit"),
            streams: registry.gauge("event_streams", "Open streams of server-sent events"),
            database: DatabaseGauges::new(&mut registry),
            registry,
        }
    }

    /// Adds gauges that read these parts.
    pub(crate) fn observe(
        &mut self,
        pool: &Pool,
        notifier: &Notifier,
        waiter: &Waiter,
        sockets: &TaskTracker,
    ) {
        let registry = &mut self.registry;
        registry.pools(&[("main", pool.clone())]);
        registry.notifier(notifier);
        let connected = waiter.clone();
        registry.reading(
            "redis_listening",
            "1 while the Redis subscription is active",
            move || flag(connected.is_connected()),
        );
        let waiter = waiter.clone();
        registry.reading("waiters", "Requests that wait for a run", move || {
            whole(waiter.len())
        });
        let sockets = sockets.clone();
        registry.reading("websockets", "Open WebSockets", move || whole(sockets.len()));
    }

    /// All metrics in the Prometheus text format.
    ///
    /// # Errors
    /// If a metric cannot be formatted.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        self.registry.text()
    }
}
