//! The worker's metrics, as `docs/METRICS.md` has them.

use errand_mcp_client::McpMetrics;
use errand_shared::{
    service::metrics::{By, Counter, Gauge, Histogram, Metrics, Span, whole},
    signals::notifier::Notifier,
    storage::Pool,
};
use tokio::time::Instant;

use crate::{context::Beats, model::LimitMetrics, queue::run_registry::InFlight, settings::WorkerSettings};

errand_shared::label_values! {
    /// How an attempt of a run went.
    pub(crate) enum Attempt: "outcome" {
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
        Released = "released",
        Retried = "retried",
        Lost = "lost",
        Parked = "parked",
        Stranded = "stranded",
    }
}

errand_shared::label_values! {
    /// How a run ended.
    pub(crate) enum End: "status" {
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

errand_shared::label_values! {
    /// Why an attempt ended short of a reply.
    pub(crate) enum Failure: "kind" {
        Model = "model",
        Agent = "agent",
        Database = "database",
        Panic = "panic",
        Stopping = "stopping",
        Cancelled = "cancelled",
        LeaseLost = "lease_lost",
    }
}

errand_shared::label_values! {
    /// What went wrong with a model call.
    pub(crate) enum Fault: "kind" {
        Connection = "connection",
        Timeout = "timeout",
        RateLimited = "rate_limited",
        Quota = "quota",
        ServerError = "server_error",
        ClientError = "client_error",
        Malformed = "malformed",
        TooLarge = "too_large",
        RunDeadline = "run_deadline",
    }
}

errand_shared::label_values! {
    /// How one try of a model call went.
    pub(crate) enum Try: "outcome" {
        Ok = "ok",
        Abandoned = "abandoned",
        Connection = "connection",
        Timeout = "timeout",
        RateLimited = "rate_limited",
        Quota = "quota",
        ServerError = "server_error",
        ClientError = "client_error",
        Malformed = "malformed",
        TooLarge = "too_large",
    }
}

impl Try {
    /// A try that ended in this fault.
    pub(crate) const fn failed(fault: Fault) -> Self {
        match fault {
            Fault::Connection => Self::Connection,
            Fault::Timeout => Self::Timeout,
            Fault::RateLimited => Self::RateLimited,
            Fault::Quota => Self::Quota,
            Fault::ServerError => Self::ServerError,
            Fault::ClientError => Self::ClientError,
            Fault::Malformed => Self::Malformed,
            Fault::TooLarge => Self::TooLarge,
            // Not a fault of the try.
            Fault::RunDeadline => Self::Abandoned,
        }
    }
}

errand_shared::label_values! {
    /// Which way tokens go.
    pub(crate) enum Direction: "direction" {
        Prompt = "prompt",
        Completion = "completion",
    }
}

errand_shared::label_values! {
    /// What the rescuer did.
    pub(crate) enum Rescue: "action" {
        Requeued = "requeued",
        Ended = "ended",
        Expired = "expired",
        Rung = "rung",
    }
}

/// The metrics of the model; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ModelMetrics {
    /// Tries under way.
    pub(crate) in_flight: Gauge,
    /// Tries.
    pub(crate) requests: By<Try, Counter>,
    /// Tries that were answered in full.
    pub(crate) duration: Histogram,
    /// Until the first text or tool call.
    pub(crate) first_token: Histogram,
    /// Faults.
    pub(crate) errors: By<Fault, Counter>,
    /// Calls made again.
    pub(crate) retries: By<Fault, Counter>,
    /// Tokens.
    pub(crate) tokens: By<Direction, Counter>,
}

/// Calls of one tool: those that did what they were asked for, and the others.
#[derive(Debug)]
struct ToolCalls {
    tool: &'static str,
    succeeded: Counter,
    failed: Counter,
}

/// The worker's metrics, and the registry that tells them.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    registry: Metrics,
    /// The model.
    pub(crate) model: ModelMetrics,
    /// The limit on what is asked of it.
    pub(crate) limit: LimitMetrics,
    /// Heartbeats that did not get through.
    pub(crate) beats_missed: Counter,
    /// Whether the worker is to claim nothing.
    pub(crate) draining: Gauge,
    /// Whether the calls of APIs are heard.
    pub(crate) listening: Gauge,
    /// Runs claimed.
    pub(crate) claims: Counter,
    /// Hints taken from Redis.
    pub(crate) hints: Counter,
    /// A claim's statement.
    pub(crate) claim_duration: Histogram,
    /// From when a run could have been claimed to its claim.
    pub(crate) queue_wait: Histogram,
    /// From a run's claim to the first thing done for it.
    pub(crate) start_delay: Histogram,
    /// Attempts, from their claim.
    pub(crate) attempts: By<Attempt, Histogram>,
    /// Runs, from their message.
    pub(crate) responses: By<End, Histogram>,
    /// Attempts that ended short of a reply.
    pub(crate) failures: By<Failure, Counter>,
    /// Leases found gone.
    pub(crate) leases_lost: Counter,
    /// Steps.
    pub(crate) step_duration: Histogram,
    /// Storing an end.
    pub(crate) finish_duration: Histogram,
    /// A step's tools.
    pub(crate) tools_duration: Histogram,
    /// What the rescuer did.
    pub(crate) rescues: By<Rescue, Counter>,
    /// Other people's MCP servers.
    pub(crate) mcp: McpMetrics,
    tools: Vec<ToolCalls>,
}

/// In place of a tool that is not ours: a model may ask for any.
const OTHER_TOOL: &str = "other";

impl WorkerMetrics {
    /// Metrics of nothing yet.
    pub(crate) fn new(settings: &WorkerSettings) -> Self {
        let mut registry = Metrics::new("errand-worker", env!("CARGO_PKG_VERSION"));
        let capacity = f64::from(settings.worker_concurrency);
        registry.reading("worker_capacity", "Runs at once, at most", move || capacity);
        Self {
            model: ModelMetrics {
                in_flight: registry.gauge("model_requests_in_flight", "Tries of model calls under way"),
                requests: registry.counters("model_requests", "Tries of model calls"),
                duration: registry.histogram(
                    "model_request_duration_seconds",
                    "A try that was answered in full",
                    Span::Long,
                ),
                first_token: registry.histogram(
                    "model_time_to_first_token_seconds",
                    "From the request to the answer's first text or tool call",
                    Span::Long,
                ),
                errors: registry.counters("model_errors", "Faults of model calls"),
                retries: registry.counters("model_retries", "Model calls made again, by the fault before"),
                tokens: registry.counters("model_tokens", "Tokens as the model's server counted them"),
            },
            limit: LimitMetrics {
                waiting: registry.gauge(
                    "model_limit_waiting",
                    "Model calls that wait for the shared limit",
                ),
                wait: registry.histogram(
                    "model_limit_wait_seconds",
                    "How long model calls have waited for the shared limit",
                    Span::Long,
                ),
                fallbacks: registry.counter(
                    "model_limit_fallbacks",
                    "Model calls let through by this worker's own share, without Redis",
                ),
            },
            beats_missed: registry.counter("heartbeats_missed", "Heartbeats that did not get through"),
            draining: registry.gauge("worker_draining", "1 while this worker is to claim nothing"),
            listening: registry.gauge("redis_listening", "1 while Redis is heard"),
            claims: registry.counter("run_claims", "Claims that got a run"),
            hints: registry.counter("hints_taken", "Hints taken from Redis"),
            claim_duration: registry.histogram(
                "claim_duration_seconds",
                "A claim's statement, for up to a batch of runs",
                Span::Short,
            ),
            queue_wait: registry.histogram(
                "run_queue_wait_seconds",
                "From when a run could have been claimed to its claim",
                Span::Long,
            ),
            start_delay: registry.histogram(
                "run_start_delay_seconds",
                "From a run's claim to the first thing done for it",
                Span::Short,
            ),
            attempts: registry.histograms(
                "run_duration_seconds",
                "An attempt of a run, from its claim",
                Span::Long,
            ),
            responses: registry.histograms(
                "run_response_seconds",
                "From a run's message, or its retry, to its end",
                Span::Long,
            ),
            failures: registry.counters("run_failures", "Attempts that ended short of a reply"),
            leases_lost: registry.counter("leases_lost", "Leases that this worker found gone"),
            step_duration: registry.histogram(
                "step_duration_seconds",
                "A model call and the tools that it asked for",
                Span::Long,
            ),
            finish_duration: registry.histogram(
                "finish_duration_seconds",
                "Storing a run's end",
                Span::Short,
            ),
            tools_duration: registry.histogram("tools_duration_seconds", "A step's tools", Span::Short),
            rescues: registry.counters("rescuer_runs", "Runs that this worker's sweeps dealt with"),
            mcp: McpMetrics::new(&mut registry),
            tools: tool_calls(&mut registry),
            registry,
        }
    }

    /// Tells also of these parts.
    pub(crate) fn watch(
        &mut self,
        pools: &[(&'static str, Pool)],
        notifier: &Notifier,
        in_flight: &InFlight,
        beats: Beats,
    ) {
        self.registry.pools(pools);
        self.registry.notifier(notifier);
        let in_flight = in_flight.clone();
        let started = Instant::now();
        self.registry.reading(
            "worker_heartbeat_age_seconds",
            "Since the last good heartbeat, or since the start",
            move || {
                let last = beats.get().and_then(|beats| *beats.borrow());
                last.unwrap_or(started).elapsed().as_secs_f64()
            },
        );
        self.registry.reading(
            "worker_runs_in_flight",
            "Runs that this worker has now",
            move || whole(in_flight.len()),
        );
    }

    /// Counts a tool call that was committed.
    pub(crate) fn tool_called(&self, tool: &str, success: bool) {
        let calls = self
            .tools
            .iter()
            .find(|calls| calls.tool == tool)
            .or(self.tools.last());
        if let Some(calls) = calls {
            if success {
                calls.succeeded.inc();
            } else {
                calls.failed.inc();
            }
        }
    }

    /// Whether the worker is to claim nothing.
    pub(crate) fn drains(&self, draining: bool) {
        self.draining.set(i64::from(draining));
    }

    /// All of it, in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric can't be written.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        self.registry.text()
    }
}

/// Counters of the calls of each tool that is offered, and of all others.
fn tool_calls(registry: &mut Metrics) -> Vec<ToolCalls> {
    let family = registry.family("tool_calls", "Tool calls that were committed", Counter::default);
    let names = errand_task_tools::specs().iter().map(|spec| spec.name);
    names
        .chain([OTHER_TOOL])
        .map(|tool| {
            let of = |outcome| family.get_or_create_owned(&[("tool", tool), ("outcome", outcome)]);
            ToolCalls {
                tool,
                succeeded: of("succeeded"),
                failed: of("failed"),
            }
        })
        .collect()
}
