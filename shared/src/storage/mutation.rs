//! A mutation for testing the fault tests: writes are no longer fenced, and the fault tests must notice. Only in builds with the
//! feature `mutation-fence`.

use sqlx::{AssertSqlSafe, PgExecutor, Row};

use crate::storage::queue::claims::Lease;

#[cfg(not(debug_assertions))]
compile_error!("mutations are for tests: never in a build without debug assertions");

/// Returns the lease with the token of whichever worker owns the run now.
pub async fn unfenced(executor: impl PgExecutor<'_>, lease: &Lease) -> Lease {
    let sql = format!("SELECT lease_token FROM runs WHERE id = '{}'", lease.run_id);
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(executor).await;
    let token = row.and_then(|row| row.try_get("lease_token"));
    Lease {
        token: token.unwrap_or(lease.token),
        ..lease.clone()
    }
}
