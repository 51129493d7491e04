//! Requests to cancel runs. A request only marks the run; its owner finishes it as cancelled.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{domain::run::RunStatus, storage::status_column};

/// A run whose cancellation was requested.
#[derive(Clone, Debug)]
pub struct CancelTarget {
    /// The run.
    pub run_id: Uuid,
    /// Its status.
    pub status: RunStatus,
    /// Its epoch.
    pub epoch: i32,
}

/// Requests the cancellation of a run and returns its status. None if it does not exist or belongs to another user.
///
/// A finished run stays as it is. The worker of a running run finishes it. The caller must finish a run that is queued or
/// awaits approval.
///
/// # Errors
/// A database error.
pub async fn request_cancel(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<Option<CancelTarget>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        UPDATE runs SET cancel_requested_at = CASE
            WHEN status IN ('queued', 'running', 'waiting_approval') -- open run
                THEN COALESCE(cancel_requested_at, now())
            ELSE cancel_requested_at END,
            -- If the caller dies before it finishes a run that awaits approval, a rescuer finds it after this time.
            parked_until = CASE WHEN status = 'waiting_approval'
                THEN LEAST(parked_until, now() + interval '5 seconds') ELSE parked_until END
        WHERE id = $2 AND user_id = $1
        RETURNING id, status, epoch
        "#,
        user_id,
        run_id
    )
    .fetch_optional(executor)
    .await?;
    row.map(|row| {
        Ok(CancelTarget {
            run_id: row.id,
            status: status_column(&row.status)?,
            epoch: row.epoch,
        })
    })
    .transpose()
}

/// Requests the cancellation of every open run of a conversation, before the conversation is deleted.
///
/// # Errors
/// A database error.
pub async fn request_cancel_all(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    conversation_id: Uuid,
) -> Result<Vec<CancelTarget>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        UPDATE runs SET cancel_requested_at = COALESCE(cancel_requested_at, now()),
            -- As for one run.
            parked_until = CASE WHEN status = 'waiting_approval'
                THEN LEAST(parked_until, now() + interval '5 seconds') ELSE parked_until END
        WHERE user_id = $1 AND conversation_id = $2
          AND status IN ('queued', 'running', 'waiting_approval') -- open run
        RETURNING id, status, epoch
        "#,
        user_id,
        conversation_id
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(CancelTarget {
                run_id: row.id,
                status: status_column(&row.status)?,
                epoch: row.epoch,
            })
        })
        .collect()
}
