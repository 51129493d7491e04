//! Where Postgres and Redis are, and how much of them a process may take.

use std::time::Duration;

use clap::Args;

use super::{Secret, milliseconds};

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
