//! Workers: one row per process, kept alive by heartbeats. Their age is measured by the database's clock.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::storage::runs::QueuedRun;

/// The row that a worker registers.
#[derive(Clone, Debug)]
pub struct WorkerRow {
    /// A new id for each start of the process.
    pub id: Uuid,
    /// The host name.
    pub host: String,
    /// The version of the program.
    pub version: String,
    /// Maximum number of concurrent runs.
    pub concurrency: i32,
}

/// What a heartbeat returns.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatReply {
    /// Whether the worker must not claim runs: an admin drains it, or paused the queue.
    pub stop_claiming: bool,
    /// How many other workers sent a heartbeat within the last 30 seconds.
    pub other_workers: i64,
}

/// Records a heartbeat. The first one registers the worker.
///
/// # Errors
/// A database error.
pub async fn heartbeat(
    executor: impl PgExecutor<'_>,
    worker: &WorkerRow,
    in_flight: i32,
) -> Result<HeartbeatReply, sqlx::Error> {
    sqlx::query_as!(
        HeartbeatReply,
        r#"
        INSERT INTO workers (id, host, version, concurrency, in_flight) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), in_flight = EXCLUDED.in_flight
        RETURNING draining OR EXISTS (SELECT FROM queue_control WHERE paused_at IS NOT NULL) AS "stop_claiming!",
            (SELECT count(*) FROM workers o WHERE o.id <> $1 AND o.heartbeat_at > now() - interval '30 seconds') AS "other_workers!"
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
    /// A new id for each start of the process.
    pub id: Uuid,
    /// The host name.
    pub host: String,
    /// The version of the program.
    pub version: String,
    /// Maximum number of concurrent runs.
    pub concurrency: i32,
    /// Number of runs at its last heartbeat.
    pub in_flight: i32,
    /// Whether an admin drains it: it claims no runs.
    pub draining: bool,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it sent its last heartbeat.
    pub heartbeat_at: DateTime<Utc>,
    /// Age of the last heartbeat in seconds.
    pub heartbeat_age_seconds: f64,
}

/// Lists workers by their last heartbeat, newest first. Dead workers are listed for a day.
///
/// # Errors
/// A database error.
pub async fn list(executor: impl PgExecutor<'_>, limit: i64) -> Result<Vec<WorkerInfo>, sqlx::Error> {
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

/// A running run of a worker.
#[derive(Clone, Debug)]
pub struct HeldRun {
    /// The run.
    pub run_id: Uuid,
    /// Its lease.
    pub token: Uuid,
    /// Whether its user requested a cancellation.
    pub cancel_requested: bool,
}

/// Returns the running runs of a worker.
///
/// # Errors
/// A database error.
pub async fn held_runs(executor: impl PgExecutor<'_>, worker_id: Uuid) -> Result<Vec<HeldRun>, sqlx::Error> {
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

/// Releases all runs of a worker: they are queued again, and the attempt does not count as a failure. Returns the runs.
///
/// # Errors
/// A database error.
pub async fn release_all(
    executor: impl PgExecutor<'_>,
    worker_id: Uuid,
) -> Result<Vec<QueuedRun>, sqlx::Error> {
    sqlx::query_as!(
        QueuedRun,
        r#"
        WITH held AS MATERIALIZED (
            SELECT id FROM runs WHERE worker_id = $1 AND status = 'running' ORDER BY id FOR NO KEY UPDATE
        )
        UPDATE runs r SET status = 'queued', lease_token = NULL, worker_id = NULL, epoch = r.epoch + 1,
            available_at = now(), ring_at = now() + interval '5 seconds' /* renotify */
        FROM held h WHERE r.id = h.id
        RETURNING r.id AS run_id, r.user_id, r.conversation_id, r.attempt, r.epoch
        "#,
        worker_id
    )
    .fetch_all(executor)
    .await
}

/// Removes a worker that stops, unless it still has a running run.
///
/// # Errors
/// A database error.
pub async fn deregister(executor: impl PgExecutor<'_>, worker_id: Uuid) -> Result<(), sqlx::Error> {
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

/// Removes at most 100 workers that have been dead for a day and have no running run. Returns how many.
///
/// # Errors
/// A database error.
pub async fn delete_dead(executor: impl PgExecutor<'_>) -> Result<u64, sqlx::Error> {
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
