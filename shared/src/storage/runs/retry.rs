//! Retry: a failed or cancelled run is queued again under the same id, and continues from its journal.

use sqlx::PgExecutor;
use uuid::Uuid;

use super::QueuedRun;

/// The outcome of a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    /// Queued again under the same id.
    Queued(QueuedRun),
    /// The run did not fail, was not cancelled, or is not the last of its conversation.
    NotRetryable,
    /// The run does not exist or belongs to another user.
    NotFound,
}

/// Queues a failed or cancelled run again if it is the last of its conversation. Its tool results are removed from the
/// messages; they stay in the journal, from which the next attempt continues.
///
/// # Errors
/// A database error.
pub async fn retry(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<RetryOutcome, sqlx::Error> {
    let row = sqlx::query_file!("src/storage/runs/retry.sql", user_id, run_id)
        .fetch_optional(executor)
        .await?;
    let Some(row) = row else {
        return Ok(RetryOutcome::NotFound);
    };
    Ok(match (row.attempt, row.epoch) {
        (Some(attempt), Some(epoch)) => RetryOutcome::Queued(QueuedRun {
            run_id,
            user_id,
            conversation_id: row.conversation_id,
            attempt,
            epoch,
        }),
        _ => RetryOutcome::NotRetryable,
    })
}
