//! What an admin sees of all runs at a glance, bounded in what it costs: the open ones, and a sample of the newest.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// The open runs.
#[derive(Clone, Debug)]
pub struct OpenRuns {
    /// Waiting to be claimed.
    pub queued: i64,
    /// Held by workers.
    pub running: i64,
    /// Parked until their users decide.
    pub waiting_approval: i64,
    /// How long the one has waited, in seconds, that could be claimed for longest; none if none could.
    pub oldest_wait_seconds: Option<f64>,
    /// Since when the queue is paused.
    pub paused_at: Option<DateTime<Utc>>,
}

/// Counts the open runs, up to `most` of each state.
///
/// # Errors
/// A fault of Postgres.
pub async fn open_runs(executor: impl PgExecutor<'_>, most: i64) -> Result<OpenRuns, sqlx::Error> {
    sqlx::query_as!(
        OpenRuns,
        r#"
        SELECT (SELECT count(*) FROM (SELECT FROM runs WHERE status = 'queued' LIMIT $1) r) AS "queued!",
            (SELECT count(*) FROM (SELECT FROM runs WHERE status = 'running' LIMIT $1) r) AS "running!",
            (SELECT count(*) FROM (SELECT FROM runs WHERE status = 'waiting_approval' LIMIT $1) r)
                AS "waiting_approval!",
            -- A run waits since it was queued, was due, and the one before it in its conversation had ended.
            (SELECT extract(epoch FROM now() - min(GREATEST(r.queued_at, r.available_at, (
                    SELECT b.finished_at FROM runs b WHERE b.conversation_id = r.conversation_id AND b.seq < r.seq
                    ORDER BY b.seq DESC LIMIT 1))))::float8
                FROM (SELECT * FROM runs WHERE status = 'queued' AND available_at <= now() LIMIT $1) r
                WHERE NOT EXISTS (SELECT FROM runs e
                    WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
                      AND e.status IN ('queued', 'running', 'waiting_approval'))) AS oldest_wait_seconds,
            (SELECT paused_at FROM queue_control) AS paused_at
        "#,
        most
    )
    .fetch_one(executor)
    .await
}

/// The newest runs.
#[derive(Clone, Debug)]
pub struct Recent {
    /// How many.
    pub runs: i64,
    /// Of those, how many came in the last five minutes.
    pub last_5_min: i64,
    /// How many succeeded.
    pub succeeded: i64,
    /// How many failed.
    pub failed: i64,
    /// How many were cancelled.
    pub cancelled: i64,
    /// Age of the oldest of them, in seconds.
    pub oldest_seconds: Option<f64>,
    /// How long a worker was busy with one that has ended, from its last claim, in seconds on average.
    pub service_seconds: Option<f64>,
}

/// Looks at the runs that came in the last hour, the newest `most` if there are more. Ids grow with time, so that
/// `since`, an id from before that hour, is where the look ends.
///
/// # Errors
/// A fault of Postgres.
pub async fn recent(executor: impl PgExecutor<'_>, since: Uuid, most: i64) -> Result<Recent, sqlx::Error> {
    sqlx::query_as!(
        Recent,
        r#"
        SELECT count(*) AS "runs!", count(*) FILTER (WHERE created_at > now() - interval '5 minutes') AS "last_5_min!",
            count(*) FILTER (WHERE status = 'succeeded') AS "succeeded!",
            count(*) FILTER (WHERE status = 'failed') AS "failed!",
            count(*) FILTER (WHERE status = 'cancelled') AS "cancelled!",
            extract(epoch FROM now() - min(created_at))::float8 AS oldest_seconds,
            avg(extract(epoch FROM finished_at - claimed_at))::float8 AS service_seconds
        FROM (SELECT status, created_at, claimed_at, finished_at FROM runs
            WHERE id >= $1 AND created_at > now() - interval '1 hour' ORDER BY id DESC LIMIT $2) r
        "#,
        since,
        most
    )
    .fetch_one(executor)
    .await
}
