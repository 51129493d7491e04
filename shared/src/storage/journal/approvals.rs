//! The user's decisions about calls that need approval.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    domain::run::RunStatus,
    storage::{runs::QueuedRun, status_column},
};

/// The outcome of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecisionOutcome {
    /// Stored. Other calls of the step still await approval.
    Stored,
    /// Stored. It was the last decision that the step needed: the run is queued again.
    Queued(QueuedRun),
    /// The user made the same decision before.
    SameAsBefore,
    /// The user made the opposite decision before.
    Conflicting,
    /// The approval expired, or the run has finished.
    TooLate,
    /// The run has no such call, or the call does not need approval.
    CallNotFound,
    /// The run does not exist or belongs to another user.
    RunNotFound,
}

/// Locks a run of this user for a decision. [`decide`], as the next statement of the transaction, then sees the decisions that
/// were committed while this one waited for the lock. Returns the run's status. None if the run does not exist or belongs to
/// another user.
///
/// # Errors
/// A database error.
pub async fn lock(
    connection: &mut PgConnection,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<Option<RunStatus>, sqlx::Error> {
    let status = sqlx::query_scalar!(
        "SELECT status FROM runs WHERE id = $2 AND user_id = $1 FOR NO KEY UPDATE",
        user_id,
        run_id
    )
    .fetch_optional(connection)
    .await?;
    status.as_deref().map(status_column).transpose()
}

/// Stores a decision about a call of a run that [`lock`] has locked. The last decision that the step needs also queues the run
/// again. A decision can be made once, and only while the run awaits it.
///
/// # Errors
/// A database error.
pub async fn decide(
    connection: &mut PgConnection,
    run_id: Uuid,
    tool_call_id: &str,
    approve: bool,
) -> Result<DecisionOutcome, sqlx::Error> {
    let row = sqlx::query_file!("src/storage/journal/decide.sql", run_id, tool_call_id, approve)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(DecisionOutcome::CallNotFound);
    };
    Ok(
        match (
            row.approved,
            row.user_id,
            row.conversation_id,
            row.attempt,
            row.epoch,
        ) {
            (_, Some(user_id), Some(conversation_id), Some(attempt), Some(epoch)) => {
                DecisionOutcome::Queued(QueuedRun {
                    run_id,
                    user_id,
                    conversation_id,
                    attempt,
                    epoch,
                })
            }
            (Some(previous), ..) if previous == approve => DecisionOutcome::SameAsBefore,
            (Some(_), ..) => DecisionOutcome::Conflicting,
            (None, ..) if row.decided == Some(true) => DecisionOutcome::Stored,
            (None, ..) => DecisionOutcome::TooLate,
        },
    )
}

/// Queues runs again whose approvals expired, and runs with a requested cancellation that was not executed. A worker then
/// continues or finishes them. Returns the queued runs.
///
/// # Errors
/// A database error.
pub async fn expire(executor: impl PgExecutor<'_>, limit: i64) -> Result<Vec<QueuedRun>, sqlx::Error> {
    sqlx::query_as!(
        QueuedRun,
        r#"
        WITH due AS MATERIALIZED (
            SELECT r.id FROM runs r WHERE r.status = 'waiting_approval' AND r.parked_until <= now()
            ORDER BY r.parked_until LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE runs r SET status = 'queued', epoch = r.epoch + 1, available_at = now(),
            ring_at = now() + interval '5 seconds' /* renotify */
        FROM due d WHERE r.id = d.id
        RETURNING r.id AS run_id, r.user_id, r.conversation_id, r.attempt, r.epoch
        "#,
        limit
    )
    .fetch_all(executor)
    .await
}
