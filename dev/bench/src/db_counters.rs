//! Reads the counters of Postgres and Redis, and the claim times in the database.

use std::ops::Sub;

use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::{Result, stack::Stack};

/// Counters since the start of the servers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Counters {
    /// Executed statements, including `BEGIN` and `COMMIT`; a round trip has one or more. `None` without the extension
    /// that counts them.
    pub(crate) statements: Option<i64>,
    /// Committed transactions.
    pub(crate) commits: i64,
    /// Flushes of the write-ahead log.
    pub(crate) flushes: i64,
    /// KiB written to the write-ahead log.
    pub(crate) log_kib: i64,
    /// Executed Redis commands.
    pub(crate) redis_commands: i64,
}

impl Counters {
    pub(crate) async fn read(stack: &Stack) -> Result<Self> {
        let mut postgres = PgConnection::connect(&stack.database_url).await?;
        let row = sqlx::raw_sql(
            "SELECT pg_stat_force_next_flush(), (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()), \
             (SELECT wal_sync FROM pg_stat_wal), (SELECT (wal_bytes / 1024)::int8 FROM pg_stat_wal)",
        )
        .fetch_one(&mut postgres)
        .await?;
        let statements = sqlx::raw_sql(
            "SELECT sum(calls)::int8 FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
             WHERE d.datname = current_database()",
        )
        .fetch_one(&mut postgres)
        .await
        .and_then(|row| row.try_get(0))
        .ok();
        postgres.close().await?;
        let mut redis = redis::Client::open(stack.redis_url.as_str())?
            .get_multiplexed_async_connection()
            .await?;
        let info: redis::InfoDict = redis::cmd("INFO").arg("stats").query_async(&mut redis).await?;
        Ok(Self {
            statements,
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
            statements: self
                .statements
                .zip(earlier.statements)
                .map(|(now, then)| now - then),
            commits: self.commits - earlier.commits,
            flushes: self.flushes - earlier.flushes,
            log_kib: self.log_kib - earlier.log_kib,
            redis_commands: self.redis_commands - earlier.redis_commands,
        }
    }
}

/// How long runs waited until they were claimed, in milliseconds by Postgres's clock: from the start of the transaction
/// that stored the message to the start of the transaction that claimed the run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Claims {
    /// Median.
    pub(crate) p50: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
}

impl Claims {
    /// The claims of the last `seconds` seconds.
    pub(crate) async fn read(stack: &Stack, seconds: f64) -> Result<Self> {
        let mut postgres = PgConnection::connect(&stack.database_url).await?;
        let row = sqlx::raw_sql(AssertSqlSafe(format!(
            "SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM claimed_at - created_at)::float8 * 1000) \
             FROM runs WHERE attempt = 1 AND claimed_at > now() - interval '{seconds} seconds'"
        )))
        .fetch_one(&mut postgres)
        .await?;
        postgres.close().await?;
        let shares: Option<Vec<f64>> = row.try_get(0)?;
        Ok(match shares.as_deref() {
            Some(&[p50, p99]) => Self { p50, p99 },
            _ => Self::default(),
        })
    }
}

/// Resets the statistics of the statements.
pub(crate) async fn reset_statements(stack: &Stack) -> Result<()> {
    let mut postgres = PgConnection::connect(&stack.database_url).await?;
    sqlx::raw_sql("SELECT pg_stat_statements_reset()")
        .execute(&mut postgres)
        .await?;
    postgres.close().await?;
    Ok(())
}

/// The statements that took the most time since the last reset, one table row each.
pub(crate) async fn top_statements(stack: &Stack, chats: usize) -> Result<Vec<String>> {
    let mut postgres = PgConnection::connect(&stack.database_url).await?;
    let rows = sqlx::raw_sql(
        "SELECT calls, total_exec_time, rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 90), shared_blks_hit \
         FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
         WHERE d.datname = current_database() ORDER BY total_exec_time DESC LIMIT 12",
    )
    .fetch_all(&mut postgres)
    .await?;
    postgres.close().await?;
    rows.iter()
        .map(|row| {
            let (calls, total): (i64, f64) = (row.try_get(0)?, row.try_get(1)?);
            let (rows, text, pages): (i64, String, i64) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            #[expect(clippy::cast_precision_loss, reason = "for people to read")]
            let chats = chats.max(1) as f64;
            #[expect(clippy::cast_precision_loss, reason = "for people to read")]
            Ok(format!(
                "| {:.3} | {calls} | {:.3} | {:.1} | {:.1} | `{text}` |",
                total / chats,
                total / calls.max(1) as f64,
                rows as f64 / calls.max(1) as f64,
                pages as f64 / chats,
            ))
        })
        .collect()
}
