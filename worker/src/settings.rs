//! The worker's settings.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::{Args, Parser};
use errand_shared::service::traces::TraceSettings;
use errand_shared::{
    domain::agents::AgentSettings,
    service::{
        config::{Exit, RedisSettings, Secret, StoreSettings, milliseconds, seconds},
        runtime::RuntimeSettings,
        telemetry::LogSettings,
    },
};
use serde_json::{Map, Value};

const CHECK_MODEL_HELP: &str = "\
`errand-worker check-model [--agent NAME]` checks the model server with these settings, and needs neither Postgres nor Redis.";

/// Claims runs, drives the model's tool loop, stores the replies.
#[derive(Clone, Debug, Parser)]
#[command(name = "errand-worker", version, about, after_help = CHECK_MODEL_HELP)]
pub struct WorkerSettings {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub store: StoreSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub redis: RedisSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub model: ModelSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub agents: AgentSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub run: RunSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub approval: ApprovalSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub liveness: LivenessSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub retention: RetentionSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub log: LogSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub runtime: RuntimeSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub traces: TraceSettings,
    /// Address of /metrics, /healthz and /readyz; each worker on a host needs its own.
    #[arg(long, env = "ADMIN_LISTEN_ADDR", default_value = "127.0.0.1:9091")]
    pub admin_listen_addr: SocketAddr,
    /// Maximum number of concurrent runs.
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub worker_concurrency: u32,
    /// Maximum number of runs claimed in one statement.
    #[arg(long, hide = true, env = "WORKER_CLAIM_BATCH", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub worker_claim_batch: u32,
    /// How long pieces of an answer are collected before they are published, in milliseconds; the first piece is published
    /// at once.
    #[arg(long, hide = true, env = "DELTA_INTERVAL_MS", default_value = "30", value_parser = milliseconds)]
    pub delta_interval_ms: Duration,
    /// How long runs may continue after SIGTERM before they are released, in seconds.
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value = "25", value_parser = seconds)]
    pub shutdown_grace_seconds: Duration,
}

/// The model's server and how it is called.
#[derive(Args, Clone, Debug)]
pub struct ModelSettings {
    /// API key of the model server; optional if a base URL is set.
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true)]
    pub openai_api_key: Option<Secret>,
    /// Any server with an OpenAI-compatible API; <https://api.openai.com/v1> if unset.
    #[arg(long, env = "OPENAI_BASE_URL")]
    pub openai_base_url: Option<String>,
    /// Additional headers of each request, from the agents file.
    #[arg(skip)]
    pub headers: Vec<(String, Secret)>,
    /// The model.
    #[arg(long, env = "OPENAI_MODEL", default_value = "gpt-5.4-mini")]
    pub openai_model: String,
    /// Sampling temperature, 0 to 2.
    #[arg(long, env = "OPENAI_TEMPERATURE", default_value_t = 0.7)]
    pub openai_temperature: f32,
    /// Maximum number of tokens per answer.
    #[arg(long, env = "OPENAI_MAX_TOKENS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub openai_max_tokens: u32,
    /// Timeout for one attempt of a model call, in milliseconds, from the request to the end of the answer.
    #[arg(long, env = "MODEL_TIMEOUT_MS", default_value = "120000", value_parser = milliseconds)]
    pub model_timeout_ms: Duration,
    /// How long a model's stream may send nothing, in milliseconds.
    #[arg(long, hide = true, env = "MODEL_IDLE_TIMEOUT_MS", default_value = "60000", value_parser = milliseconds)]
    pub model_idle_timeout_ms: Duration,
    /// Maximum number of retries after a transient error (408, 429, 5xx, timeout, broken connection).
    #[arg(long, env = "MODEL_RETRIES", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub model_retries: u32,
    /// Maximum number of model requests of all workers per minute, including retries; further ones wait. 0 disables the limit.
    #[arg(long, env = "MODEL_REQUESTS_PER_MINUTE", default_value_t = 0)]
    pub model_requests_per_minute: u32,
    /// Maximum number of tokens of all workers per minute; 0 disables the limit. A call's tokens are estimated, and corrected
    /// afterwards.
    #[arg(long, env = "MODEL_TOKENS_PER_MINUTE", default_value_t = 0)]
    pub model_tokens_per_minute: u32,
    /// First wait between two attempts, in milliseconds; it doubles, with jitter.
    #[arg(long, hide = true, env = "MODEL_RETRY_BASE_MS", default_value = "500", value_parser = milliseconds)]
    pub model_retry_base_ms: Duration,
    /// Longest wait between two attempts, in milliseconds, whatever Retry-After says.
    #[arg(long, hide = true, env = "MODEL_RETRY_MAX_MS", default_value = "20000", value_parser = milliseconds)]
    pub model_retry_max_ms: Duration,
    /// Members to merge into the body of each request: the `request` of the agent.
    #[arg(skip)]
    pub request: Arc<Map<String, Value>>,
}

/// Limits of a run.
#[derive(Args, Clone, Debug)]
pub struct RunSettings {
    /// How long a run may take from its first claim, in seconds.
    #[arg(long, env = "RUN_DEADLINE_SECONDS", default_value = "300", value_parser = seconds)]
    pub run_deadline_seconds: Duration,
    /// How often a run may fail, or its worker die, before the run fails.
    #[arg(long, env = "RUN_MAX_ATTEMPTS", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub run_max_attempts: i32,
    /// Maximum number of model calls per attempt.
    #[arg(long, env = "RUN_MAX_STEPS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub run_max_steps: u16,
    /// Maximum number of earlier messages shown to the model.
    #[arg(long, env = "HISTORY_MAX_MESSAGES", default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub history_max_messages: u16,
    /// Maximum number of estimated tokens of earlier messages shown to the model.
    #[arg(long, env = "HISTORY_MAX_TOKENS", default_value_t = 16000)]
    pub history_max_tokens: u32,
}

/// Which tool calls need their user's approval.
#[derive(Args, Clone, Debug)]
pub struct ApprovalSettings {
    /// Tools (comma-separated) whose calls need the user's approval; an agent may name its own.
    #[arg(long, env = "APPROVAL_REQUIRED_TOOLS", value_delimiter = ',')]
    pub approval_required_tools: Vec<String>,
    /// Time to approve a call, in seconds; afterwards it counts as declined.
    #[arg(long, env = "APPROVAL_TIMEOUT_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=604_800))]
    pub approval_timeout_seconds: u32,
}

/// Heartbeats and rescue.
#[derive(Args, Clone, Debug)]
pub struct LivenessSettings {
    /// Interval between heartbeats, in milliseconds.
    #[arg(long, env = "HEARTBEAT_MS", default_value = "2000", value_parser = milliseconds)]
    pub heartbeat_ms: Duration,
    /// Age of a heartbeat after which a worker counts as dead, in milliseconds.
    #[arg(long, env = "WORKER_DEAD_AFTER_MS", default_value = "6000", value_parser = milliseconds)]
    pub worker_dead_after_ms: Duration,
    /// Interval between the rescuer's scans, in milliseconds.
    #[arg(long, env = "RESCUE_INTERVAL_MS", default_value = "1000", value_parser = milliseconds)]
    pub rescue_interval_ms: Duration,
}

/// How long data is kept. If workers have different settings, the shortest time applies.
#[derive(Args, Clone, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the fields are named as the flags are, for all programs' settings stand side by side"
)]
pub struct RetentionSettings {
    /// Days to keep the steps and tool calls of succeeded runs; 0 keeps them.
    #[arg(long, env = "RETENTION_JOURNAL_DAYS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=36_500))]
    pub retention_journal_days: u16,
    /// Hours to keep idempotency keys, at least 24; 0 keeps them.
    #[arg(long, env = "RETENTION_KEYS_HOURS", default_value_t = 0)]
    pub retention_keys_hours: u16,
    /// Interval between deletions of old data, in seconds.
    #[arg(long, hide = true, env = "RETENTION_INTERVAL_SECONDS", default_value = "3600", value_parser = seconds)]
    pub retention_interval_seconds: Duration,
}

impl WorkerSettings {
    /// Checks rules that involve several settings.
    ///
    /// # Errors
    /// The invalid setting.
    pub fn check(&self) -> Result<(), Exit> {
        self.model.check()?;
        if self.liveness.worker_dead_after_ms < self.liveness.heartbeat_ms * 2 {
            return Err(Exit::bad_setting(
                "WORKER_DEAD_AFTER_MS",
                "must be at least twice HEARTBEAT_MS",
            ));
        }
        if (1..24).contains(&self.retention.retention_keys_hours) {
            return Err(Exit::bad_setting(
                "RETENTION_KEYS_HOURS",
                "must be 0, which keeps them, or at least 24",
            ));
        }
        Ok(())
    }
}

impl ModelSettings {
    /// Checks rules that involve several settings.
    ///
    /// # Errors
    /// The invalid setting.
    pub(crate) fn check(&self) -> Result<(), Exit> {
        if self.openai_api_key.is_none() && self.openai_base_url.is_none() {
            return Err(Exit::bad_setting(
                "OPENAI_API_KEY",
                "required unless OPENAI_BASE_URL is set",
            ));
        }
        if let Some(url) = &self.openai_base_url
            && !reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        {
            return Err(Exit::bad_setting(
                "OPENAI_BASE_URL",
                "must be an http or https URL",
            ));
        }
        if !(0.0..=2.0).contains(&self.openai_temperature) {
            return Err(Exit::bad_setting("OPENAI_TEMPERATURE", "must be between 0 and 2"));
        }
        Ok(())
    }
}
