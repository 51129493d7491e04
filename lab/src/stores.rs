//! What Postgres and Redis have counted.

use std::ops::Sub;

use serde::Serialize;
use sqlx::{Connection, PgConnection, Row};

use crate::{Result, stack::Stack};

/// Counters since the servers started.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counters {
    /// Transactions that Postgres committed.
    pub(crate) commits: i64,
    /// Times that its log was flushed to disk.
    pub(crate) flushes: i64,
    /// KiB that it wrote to its log.
    pub(crate) log_kib: i64,
    /// Commands that Redis carried out.
    pub(crate) redis_commands: i64,
}

impl Counters {
    /// What the stack's servers have counted up to now.
    pub(crate) async fn read(stack: &Stack) -> Result<Self> {
        let mut postgres = PgConnection::connect(&stack.database_url).await?;
        let row = sqlx::raw_sql(
            "SELECT pg_stat_force_next_flush(), (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()), \
             (SELECT wal_sync FROM pg_stat_wal), (SELECT (wal_bytes / 1024)::int8 FROM pg_stat_wal)",
        )
        .fetch_one(&mut postgres)
        .await?;
        postgres.close().await?;
        let mut redis = redis::Client::open(stack.redis_url.as_str())?
            .get_multiplexed_async_connection()
            .await?;
        let info: redis::InfoDict = redis::cmd("INFO").arg("stats").query_async(&mut redis).await?;
        Ok(Self {
            commits: row.try_get(1)?,
            flushes: row.try_get(2)?,
            log_kib: row.try_get(3)?,
            redis_commands: info.get("total_commands_processed").unwrap_or_default(),
        })
    }
}

impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            commits: self.commits - earlier.commits,
            flushes: self.flushes - earlier.flushes,
            log_kib: self.log_kib - earlier.log_kib,
            redis_commands: self.redis_commands - earlier.redis_commands,
        }
    }
}
