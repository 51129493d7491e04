//! A fence that lets everybody through, to see that the fault harness notices. In no build but its own.

use sqlx::{AssertSqlSafe, PgExecutor, Row};

use crate::storage::queue::claims::Lease;

#[cfg(not(debug_assertions))]
compile_error!("sabotage is for tests: never in a build without debug assertions");

/// The lease with the token that is in the run's row, whosever that is.
pub async fn unfenced(executor: impl PgExecutor<'_>, lease: &Lease) -> Lease {
    let sql = format!("SELECT lease_token FROM runs WHERE id = '{}'", lease.run_id);
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(executor).await;
    let token = row.and_then(|row| row.try_get("lease_token"));
    Lease {
        token: token.unwrap_or(lease.token),
        ..lease.clone()
    }
}
