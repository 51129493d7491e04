//! How admins control workers: pause the queue and drain a worker. Workers read both with every heartbeat.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::workers::WorkerInfo;

/// Pauses or resumes the queue. Returns since when it is paused. Pausing a paused queue keeps the earlier time.
///
/// # Errors
/// A database error.
pub async fn set_paused(
    executor: impl PgExecutor<'_>,
    paused: bool,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        UPDATE queue_control SET paused_at = CASE WHEN $1 THEN COALESCE(paused_at, now()) END
        RETURNING paused_at
        "#,
        paused
    )
    .fetch_one(executor)
    .await
}

/// Makes a worker drain, or resume. None if there is no such worker.
///
/// # Errors
/// A database error.
pub async fn set_draining(
    executor: impl PgExecutor<'_>,
    worker_id: Uuid,
    draining: bool,
) -> Result<Option<WorkerInfo>, sqlx::Error> {
    sqlx::query_as!(
        WorkerInfo,
        r#"
        UPDATE workers SET draining = $2 WHERE id = $1
        RETURNING id, host, version, concurrency, in_flight, draining, started_at, heartbeat_at,
            extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS "heartbeat_age_seconds!"
        "#,
        worker_id,
        draining
    )
    .fetch_optional(executor)
    .await
}
