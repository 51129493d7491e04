//! The model client's metrics.

use errand_shared::service::metrics::{By, Counter, Gauge, Histogram, Metrics, Span};

use super::{ErrorKind, LimitMetrics};

errand_shared::label_values! {
    /// How an attempt ended.
    pub(crate) enum AttemptOutcome: "outcome" {
        Ok = "ok",
        Failed = "failed",
        /// Dropped before its end: the run was cancelled, reached its deadline, or the worker stops.
        Abandoned = "abandoned",
    }
}

errand_shared::label_values! {
    /// Which way tokens go.
    pub(crate) enum Direction: "direction" {
        Prompt = "prompt",
        Completion = "completion",
    }
}

/// The metrics of all model clients of this worker; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ModelMetrics {
    /// Attempts in progress.
    pub(crate) in_flight: Gauge,
    /// Attempts by outcome.
    pub(crate) requests: By<AttemptOutcome, Counter>,
    /// Duration of the attempts that succeeded.
    pub(crate) duration: Histogram,
    /// Time from the request to the first text or tool call.
    pub(crate) first_token: Histogram,
    /// Errors by kind.
    pub(crate) errors: By<ErrorKind, Counter>,
    /// Retries, by the error that caused them.
    pub(crate) retries: By<ErrorKind, Counter>,
    /// Tokens as the provider counted them.
    pub(crate) tokens: By<Direction, Counter>,
}

impl ModelMetrics {
    /// Registers the metrics.
    pub(crate) fn new(registry: &mut Metrics) -> Self {
        Self {
            in_flight: registry.gauge("model_requests_in_flight", "Model requests in progress"),
            requests: registry.counters("model_requests", "Model requests, retries included, by outcome"),
            duration: registry.histogram(
                "model_request_duration_seconds",
                "Duration of model requests that succeeded",
                Span::Long,
            ),
            first_token: registry.histogram(
                "model_time_to_first_token_seconds",
                "Time from the request to the first text or tool call of the answer",
                Span::Long,
            ),
            errors: registry.counters("model_errors", "Failed model requests, by kind of error"),
            retries: registry.counters("model_retries", "Retries of model requests, by the error before"),
            tokens: registry.counters("model_tokens", "Tokens as the model provider counted them"),
        }
    }
}

impl LimitMetrics {
    /// Registers the metrics.
    pub(crate) fn new(registry: &mut Metrics) -> Self {
        Self {
            waiting: registry.gauge(
                "model_limit_waiting",
                "Model requests waiting for the shared rate limit",
            ),
            wait: registry.histogram(
                "model_limit_wait_seconds",
                "Time that model requests waited for the shared rate limit",
                Span::Long,
            ),
            fallbacks: registry.counter(
                "model_limit_fallbacks",
                "Model requests limited by this worker's own share because Redis did not answer",
            ),
        }
    }
}
