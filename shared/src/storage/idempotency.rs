//! Idempotency keys: a caller that repeats a post with the same key gets the first run. [`super::queue::posts`] stores them.

use sqlx::PgExecutor;
use uuid::Uuid;

/// A key that was used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// SHA-256 of the parsed fields of the first request.
    pub fingerprint: Vec<u8>,
    /// The run of the first request. None after its conversation was deleted.
    pub run_id: Option<Uuid>,
}

/// Finds a key of a user.
///
/// # Errors
/// A database error.
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
