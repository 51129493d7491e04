//! Settings of Postgres and Redis.

use std::time::Duration;

use clap::Args;

use super::{Secret, milliseconds};

/// Settings of Postgres.
#[derive(Args, Clone, Debug)]
pub struct StoreSettings {
    /// Postgres URL. `@FILE` reads it from a file.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Secret,
    /// Maximum number of connections to Postgres.
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_pool_size: u32,
    /// Maximum wait for a connection, in milliseconds.
    #[arg(long, hide = true, env = "DATABASE_ACQUIRE_TIMEOUT_MS", default_value = "4000", value_parser = milliseconds)]
    pub database_acquire_timeout_ms: Duration,
    /// Time limit of a statement, enforced by Postgres, in milliseconds.
    #[arg(long, hide = true, env = "DATABASE_STATEMENT_TIMEOUT_MS", default_value = "4000", value_parser = milliseconds)]
    pub database_statement_timeout_ms: Duration,
    /// Maximum number of messages, steps or finished runs in one commit. 1 disables group commit.
    #[arg(long, hide = true, env = "DATABASE_BATCH_MAX", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_batch_max: u32,
}

/// Settings of Redis.
#[derive(Args, Clone, Debug)]
pub struct RedisSettings {
    /// Redis URL (Redis 7 or newer). `@FILE` reads it from a file.
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub redis_url: Secret,
    /// Prefix of all keys and channels.
    #[arg(long, hide = true, env = "REDIS_PREFIX", default_value = "errand:")]
    pub redis_prefix: String,
    /// Time limit of a non-blocking command, in milliseconds.
    #[arg(long, hide = true, env = "REDIS_TIMEOUT_MS", default_value = "500", value_parser = milliseconds)]
    pub redis_timeout_ms: Duration,
}
