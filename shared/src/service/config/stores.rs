//! Where Postgres and Redis are, and how much of them a process may take.

use std::time::Duration;

use clap::Args;

use super::{Secret, milliseconds, seconds};

/// Postgres, the book.
#[derive(Args, Clone, Debug)]
pub struct StoreSettings {
    /// Postgres, as a URL; `@FILE` reads it from a file.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Secret,
    /// Connections to Postgres, at most.
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_pool_size: u32,
    /// How long a request waits for a connection, in milliseconds.
    #[arg(long, env = "DATABASE_ACQUIRE_TIMEOUT_MS", default_value = "4000", value_parser = milliseconds)]
    pub database_acquire_timeout_ms: Duration,
    /// How long one statement may take before Postgres ends it, in milliseconds.
    #[arg(long, env = "DATABASE_STATEMENT_TIMEOUT_MS", default_value = "4000", value_parser = milliseconds)]
    pub database_statement_timeout_ms: Duration,
    /// Posts, steps, or ends of runs, written with one commit when they come together, at most; 1 writes each alone.
    #[arg(long, env = "DATABASE_BATCH_MAX", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_batch_max: u32,
}

/// Redis, the bell.
#[derive(Args, Clone, Debug)]
pub struct RedisSettings {
    /// Redis 7 or newer, as a URL; `@FILE` reads it from a file.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Secret,
    /// What all our keys and channels begin with.
    #[arg(long, env = "REDIS_PREFIX", default_value = "errand:")]
    pub redis_prefix: String,
    /// How long an ordinary command may take, in milliseconds.
    #[arg(long, env = "REDIS_TIMEOUT_MS", default_value = "500", value_parser = milliseconds)]
    pub redis_timeout_ms: Duration,
}

/// The logs of runs' events, in Redis.
#[derive(Args, Clone, Copy, Debug)]
pub struct EventSettings {
    /// Events kept of a run, at most, for readers who come late; those who miss more are told the text so far.
    #[arg(long, env = "RUN_EVENTS_MAX", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub run_events_max: u32,
    /// How long the events of an open run are kept after the last one, in seconds.
    #[arg(long, env = "RUN_EVENTS_TTL_SECONDS", default_value = "3600", value_parser = seconds)]
    pub run_events_ttl_seconds: Duration,
    /// How long they are kept after the run's end, in seconds; after that they are told from Postgres.
    #[arg(long, env = "RUN_EVENTS_ENDED_TTL_SECONDS", default_value = "60", value_parser = seconds)]
    pub run_events_ended_ttl_seconds: Duration,
}
