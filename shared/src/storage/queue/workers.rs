//! Workers: one row each, vouched for by a heartbeat on the database's clock.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::storage::runs::QueuedRun;

/// A worker as it presents itself.
#[derive(Clone, Debug)]
pub struct WorkerRow {
    /// A fresh id for each start of a process.
    pub id: Uuid,
    /// Where it runs.
    pub host: String,
    /// Its program's version.
    pub version: String,
    /// Runs it takes at once, at most.
    pub concurrency: i32,
}

/// What a worker hears when it beats.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// Whether it is to claim nothing: an admin has asked it to drain, or has paused the queue.
    pub idle: bool,
    /// How many workers have beaten in the last half minute, itself left out.
    pub others: i64,
}

/// Beats: makes the worker's row, or dates it anew.
///
/// # Errors
/// A fault of Postgres.
pub async fn beat(
    executor: impl PgExecutor<'_>,
    worker: &WorkerRow,
    in_flight: i32,
) -> Result<Beat, sqlx::Error> {
    sqlx::query_as!(
        Beat,
        r#"
        INSERT INTO workers (id, host, version, concurrency, in_flight) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), in_flight = EXCLUDED.in_flight
        RETURNING draining OR EXISTS (SELECT FROM queue_control WHERE paused_at IS NOT NULL) AS "idle!",
            (SELECT count(*) FROM workers o WHERE o.id <> $1 AND o.heartbeat_at > now() - interval '30 seconds') AS "others!"
        "#,
        worker.id,
        worker.host,
        worker.version,
        worker.concurrency,
        in_flight
    )
    .fetch_one(executor)
    .await
}

/// A worker as an admin sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WorkerInfo {
    /// A fresh id for each start of a process.
    pub id: Uuid,
    /// Where it runs.
    pub host: String,
    /// Its program's version.
    pub version: String,
    /// Runs it takes at once, at most.
    pub concurrency: i32,
    /// Runs it had at its last heartbeat.
    pub in_flight: i32,
    /// Whether it is to claim nothing.
    pub draining: bool,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub heartbeat_at: DateTime<Utc>,
    /// How long ago that was, in seconds.
    pub heartbeat_age_seconds: f64,
}

/// The workers, those first that were heard of last. Dead ones are among them for a day.
///
/// # Errors
/// A fault of Postgres.
pub async fn seen(executor: impl PgExecutor<'_>, limit: i64) -> Result<Vec<WorkerInfo>, sqlx::Error> {
    sqlx::query_as!(
        WorkerInfo,
        r#"
        SELECT id, host, version, concurrency, in_flight, draining, started_at, heartbeat_at,
            extract(epoch FROM now() - heartbeat_at)::float8 AS "heartbeat_age_seconds!"
        FROM workers ORDER BY heartbeat_at DESC LIMIT $1
        "#,
        limit
    )
    .fetch_all(executor)
    .await
}

/// A run that bears a worker's id.
#[derive(Clone, Debug)]
pub struct HeldRun {
    /// The run.
    pub run_id: Uuid,
    /// Its lease.
    pub token: Uuid,
    /// Whether its user has asked for an end.
    pub cancel_requested: bool,
}

/// The runs that bear a worker's id.
///
/// # Errors
/// A fault of Postgres.
pub async fn held(executor: impl PgExecutor<'_>, worker_id: Uuid) -> Result<Vec<HeldRun>, sqlx::Error> {
    sqlx::query_as!(
        HeldRun,
        r#"
        SELECT id AS run_id, lease_token AS "token!", cancel_requested_at IS NOT NULL AS "cancel_requested!"
        FROM runs WHERE worker_id = $1 AND status = 'running'
        "#,
        worker_id
    )
    .fetch_all(executor)
    .await
}

/// Hands back everything a worker still holds: queued again and ready, at no cost of an attempt. Returns the runs.
///
/// # Errors
/// A fault of Postgres.
pub async fn release_all(
    executor: impl PgExecutor<'_>,
    worker_id: Uuid,
) -> Result<Vec<QueuedRun>, sqlx::Error> {
    sqlx::query_as!(
        QueuedRun,
        r#"
        WITH mine AS MATERIALIZED (
            SELECT id FROM runs WHERE worker_id = $1 AND status = 'running' ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE runs r SET status = 'queued', lease_token = NULL, worker_id = NULL, epoch = r.epoch + 1,
            available_at = now(), ring_at = now() + interval '5 seconds'
        FROM mine m WHERE r.id = m.id
        RETURNING r.id AS run_id, r.user_id, r.conversation_id, r.attempt, r.epoch
        "#,
        worker_id
    )
    .fetch_all(executor)
    .await
}

/// Strikes a worker off the list when it stops, unless it still holds a run.
///
/// # Errors
/// A fault of Postgres.
pub async fn leave(executor: impl PgExecutor<'_>, worker_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        DELETE FROM workers w WHERE w.id = $1
          AND NOT EXISTS (SELECT FROM runs r WHERE r.worker_id = w.id AND r.status = 'running')
        "#,
        worker_id
    )
    .execute(executor)
    .await
    .map(drop)
}

/// Strikes off workers that have been dead for a day and hold nothing, a hundred at most.
///
/// # Errors
/// A fault of Postgres.
pub async fn forget_dead(executor: impl PgExecutor<'_>) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        r#"
        DELETE FROM workers WHERE id IN (
            SELECT w.id FROM workers w WHERE w.heartbeat_at < now() - interval '1 day'
              AND NOT EXISTS (SELECT FROM runs r WHERE r.worker_id = w.id AND r.status = 'running')
            LIMIT 100 FOR UPDATE SKIP LOCKED)
        "#
    )
    .execute(executor)
    .await
    .map(|done| done.rows_affected())
}
