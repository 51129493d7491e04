//! Keys with which callers make a post safe to repeat.

use sqlx::PgExecutor;
use uuid::Uuid;

/// The run that a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// SHA-256 of the first request's parsed fields.
    pub fingerprint: Vec<u8>,
    /// The first request's run; none once its conversation was deleted.
    pub run_id: Option<Uuid>,
}

/// Finds what a user's key stands for.
///
/// # Errors
/// A fault of Postgres.
pub async fn find(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    key: &str,
) -> Result<Option<KnownKey>, sqlx::Error> {
    sqlx::query_as!(
        KnownKey,
        "SELECT fingerprint, run_id FROM idempotency_keys WHERE user_id = $1 AND key = $2",
        user_id,
        key
    )
    .fetch_optional(executor)
    .await
}
