//! The worker's metrics. `docs/METRICS.md` describes them.

use errand_mcp_client::McpMetrics;
use std::time::Duration;

use errand_shared::{
    service::metrics::{By, Counter, Gauge, Histogram, Metrics, Span, observe, whole},
    signals::notifier::Notifier,
    storage::{Pool, journal::steps::RecordedCall},
};
use tokio::time::Instant;

use crate::{
    model::{LimitMetrics, ModelMetrics},
    queue::run_registry::RunRegistry,
    settings::WorkerSettings,
    upkeep::liveness::LastHeartbeat,
};

errand_shared::label_values! {
    /// The outcome of an attempt.
    pub(crate) enum Attempt: "outcome" {
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
        Released = "released",
        Retried = "retried",
        Lost = "lost",
        AwaitingApproval = "awaiting_approval",
        Unresolved = "unresolved",
    }
}

errand_shared::label_values! {
    /// The status of a finished run.
    pub(crate) enum End: "status" {
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

errand_shared::label_values! {
    /// Why an attempt failed.
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
    /// What the rescuer did with a run.
    pub(crate) enum Rescue: "action" {
        Requeued = "requeued",
        Finished = "finished",
        Expired = "expired",
        Notified = "notified",
    }
}

/// Calls of one tool.
#[derive(Debug)]
struct ToolCalls {
    tool: &'static str,
    succeeded: Counter,
    failed: Counter,
}

/// The worker's metrics and their registry.
#[derive(Debug)]
pub(crate) struct WorkerMetrics {
    registry: Metrics,
    pub(crate) model: ModelMetrics,
    pub(crate) limit: LimitMetrics,
    pub(crate) heartbeats_missed: Counter,
    pub(crate) draining: Gauge,
    /// 1 while the worker is subscribed to the control channel.
    pub(crate) redis_subscribed: Gauge,
    pub(crate) claims: Counter,
    pub(crate) notifications_received: Counter,
    pub(crate) claim_duration: Histogram,
    pub(crate) queue_wait: Histogram,
    pub(crate) start_delay: Histogram,
    pub(crate) attempts: By<Attempt, Histogram>,
    pub(crate) responses: By<End, Histogram>,
    pub(crate) failures: By<Failure, Counter>,
    pub(crate) leases_lost: Counter,
    pub(crate) step_duration: Histogram,
    pub(crate) finish_duration: Histogram,
    pub(crate) tools_duration: Histogram,
    pub(crate) rescues: By<Rescue, Counter>,
    pub(crate) mcp: McpMetrics,
    tools: Vec<ToolCalls>,
}

/// The label of tools that are not built in. A model may request any name.
const OTHER_TOOL: &str = "other";

impl WorkerMetrics {
    pub(crate) fn new(settings: &WorkerSettings) -> Self {
        let mut registry = Metrics::new("errand-worker", env!("CARGO_PKG_VERSION"));
        let capacity = f64::from(settings.worker_concurrency);
        registry.reading(
            "worker_capacity",
            "Maximum number of concurrent runs",
            move || capacity,
        );
        Self {
            model: ModelMetrics::new(&mut registry),
            limit: LimitMetrics::new(&mut registry),
            heartbeats_missed: registry.counter("heartbeats_missed", "Heartbeats that failed"),
            draining: registry.gauge(
                "worker_draining",
                "1 while this worker is drained or the queue is paused",
            ),
            redis_subscribed: registry.gauge("redis_listening", "1 while subscribed to the Redis channel"),
            claims: registry.counter("run_claims", "Runs claimed"),
            notifications_received: registry.counter(
                "notifications_received",
                "Notifications of ready runs received from Redis",
            ),
            claim_duration: registry.histogram(
                "claim_duration_seconds",
                "Duration of a claim, for a batch of runs",
                Span::Short,
            ),
            queue_wait: registry.histogram(
                "run_queue_wait_seconds",
                "From the time a run is ready to its claim",
                Span::Long,
            ),
            start_delay: registry.histogram(
                "run_start_delay_seconds",
                "From the claim of a run to the start of its execution",
                Span::Short,
            ),
            attempts: registry.histograms(
                "run_duration_seconds",
                "Duration of an attempt, from the claim",
                Span::Long,
            ),
            responses: registry.histograms(
                "run_response_seconds",
                "From the message, or its retry, to the end of the run",
                Span::Long,
            ),
            failures: registry.counters("run_failures", "Failed attempts"),
            leases_lost: registry.counter("leases_lost", "Leases that this worker lost"),
            step_duration: registry.histogram(
                "step_duration_seconds",
                "Duration of a step: a model call and its tool calls",
                Span::Long,
            ),
            finish_duration: registry.histogram(
                "finish_duration_seconds",
                "Duration of storing the end of a run",
                Span::Short,
            ),
            tools_duration: registry.histogram(
                "tools_duration_seconds",
                "Duration of the tool calls of a step",
                Span::Short,
            ),
            rescues: registry.counters("rescuer_runs", "Stuck runs handled by this worker"),
            mcp: McpMetrics::new(&mut registry),
            tools: tool_calls(&mut registry),
            registry,
        }
    }

    /// Registers metrics whose values are read from these parts.
    pub(crate) fn observe_parts(
        &mut self,
        pools: &[(&'static str, Pool)],
        notifier: &Notifier,
        active_runs: &RunRegistry,
        last_heartbeat: LastHeartbeat,
    ) {
        self.registry.pools(pools);
        self.registry.notifier(notifier);
        let active_runs = active_runs.clone();
        let started = Instant::now();
        self.registry.reading(
            "worker_heartbeat_age_seconds",
            "Time since the last successful heartbeat, or since the start",
            move || last_heartbeat.get().unwrap_or(started).elapsed().as_secs_f64(),
        );
        self.registry.reading(
            "worker_runs_in_flight",
            "Runs that this worker executes",
            move || whole(active_runs.len()),
        );
    }

    /// Counts a step and its calls. `model_time` and `tools_time` are how long the model and the tools took.
    pub(crate) fn step_finished(&self, model_time: Duration, calls: &[RecordedCall], tools_time: Duration) {
        observe(&self.step_duration, model_time + tools_time);
        if calls.is_empty() {
            return;
        }
        observe(&self.tools_duration, tools_time);
        for call in calls {
            self.tool_called(&call.tool_name, call.success);
        }
    }

    fn tool_called(&self, tool: &str, success: bool) {
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

    /// All metrics in the Prometheus text format.
    ///
    /// # Errors
    /// A formatting error.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        self.registry.text()
    }
}

/// Counters for each built-in tool, and for all other tools together.
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
