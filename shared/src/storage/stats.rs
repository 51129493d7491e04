//! Counts of the open runs and the workers, by statements of bounded cost: for metrics, for the admin overview, and for the
//! queue position that users see.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// The open runs and the workers, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Runs that wait to be claimed.
    pub queued: i64,
    /// Runs that workers execute.
    pub running: i64,
    /// Runs that await their users' approval.
    pub waiting_approval: i64,
    /// Queued runs that could be claimed now.
    pub ready: i64,
    /// How long the oldest ready run has been ready, in seconds.
    pub oldest_seconds: Option<f64>,
    /// Whether the queue is paused.
    pub paused: bool,
    /// Live workers that do not drain.
    pub alive: i64,
    /// Live workers that drain.
    pub draining: i64,
    /// Workers whose last heartbeat is too old.
    pub dead: i64,
    /// Total concurrency of the workers in `alive`.
    pub capacity: i64,
    /// Runs of live workers at their last heartbeats.
    pub in_flight: i64,
}

/// Reads the gauges. Considers at most `max` open runs. A worker counts as dead `dead_after_seconds` after its last heartbeat.
///
/// # Errors
/// A database error.
pub async fn gauges(
    executor: impl PgExecutor<'_>,
    max: i64,
    dead_after_seconds: f64,
) -> Result<Gauges, sqlx::Error> {
    sqlx::query_file_as!(Gauges, "src/storage/stats/gauges.sql", max, dead_after_seconds)
        .fetch_one(executor)
        .await
}

/// The queued runs of one user.
#[derive(Clone, Copy, Debug)]
pub struct UserQueue {
    /// The user.
    pub user_id: Uuid,
    /// Number of queued runs.
    pub runs: i64,
}

/// Counts queued runs per user, users with most runs first. Considers at most `max` runs.
///
/// # Errors
/// A database error.
pub async fn queued_per_user(executor: impl PgExecutor<'_>, max: i64) -> Result<Vec<UserQueue>, sqlx::Error> {
    sqlx::query_as!(
        UserQueue,
        r#"
        SELECT user_id, count(*) AS "runs!" FROM (SELECT user_id FROM runs WHERE status = 'queued' LIMIT $1) queued
        GROUP BY user_id ORDER BY count(*) DESC LIMIT 10000
        "#,
        max
    )
    .fetch_all(executor)
    .await
}

/// How fast runs are executed.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    /// Runs that live workers can execute at the same time.
    pub slots: i64,
    /// Average duration of a run from its claim, in seconds. None if no run has finished yet.
    pub service_seconds: Option<f64>,
}

/// Reads how fast runs are executed: from the workers with a heartbeat within `dead_after_seconds`, and from the last 200 runs.
///
/// # Errors
/// A database error.
pub async fn throughput(
    executor: impl PgExecutor<'_>,
    dead_after_seconds: f64,
) -> Result<Throughput, sqlx::Error> {
    sqlx::query_as!(
        Throughput,
        r#"
        SELECT (SELECT COALESCE(sum(w.concurrency), 0)::int8 FROM workers w
                WHERE NOT w.draining AND w.heartbeat_at > now() - make_interval(secs => $1)) AS "slots!",
            (SELECT avg(extract(epoch FROM r.finished_at - r.claimed_at))::float8
                FROM (SELECT finished_at, claimed_at FROM runs ORDER BY id DESC LIMIT 200) r) AS service_seconds
        "#,
        dead_after_seconds
    )
    .fetch_one(executor)
    .await
}

/// The open runs, for the admin overview.
#[derive(Clone, Debug)]
pub struct OpenRuns {
    /// Runs that wait to be claimed.
    pub queued: i64,
    /// Runs that workers execute.
    pub running: i64,
    /// Runs that await their users' approval.
    pub waiting_approval: i64,
    /// How long the oldest ready run has been ready, in seconds. None if no run is ready.
    pub oldest_wait_seconds: Option<f64>,
    /// Since when the queue is paused.
    pub paused_at: Option<DateTime<Utc>>,
}

/// Counts the open runs, up to `max` of each status.
///
/// # Errors
/// A database error.
pub async fn open_runs(executor: impl PgExecutor<'_>, max: i64) -> Result<OpenRuns, sqlx::Error> {
    sqlx::query_as!(
        OpenRuns,
        r#"
        SELECT (SELECT count(*) FROM (SELECT FROM runs WHERE status = 'queued' LIMIT $1) r) AS "queued!",
            (SELECT count(*) FROM (SELECT FROM runs WHERE status = 'running' LIMIT $1) r) AS "running!",
            (SELECT count(*) FROM (SELECT FROM runs WHERE status = 'waiting_approval' LIMIT $1) r)
                AS "waiting_approval!",
            -- A run is ready once it is queued and due and the previous run of its conversation has finished.
            (SELECT extract(epoch FROM now() - min(GREATEST(r.queued_at, r.available_at, (
                    SELECT b.finished_at FROM runs b WHERE b.conversation_id = r.conversation_id AND b.seq < r.seq
                    ORDER BY b.seq DESC LIMIT 1))))::float8
                FROM (SELECT * FROM runs WHERE status = 'queued' AND available_at <= now() LIMIT $1) r
                WHERE NOT EXISTS (SELECT FROM runs e -- first open run
                    WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
                      AND e.status IN ('queued', 'running', 'waiting_approval'))) AS oldest_wait_seconds,
            (SELECT paused_at FROM queue_control) AS paused_at
        "#,
        max
    )
    .fetch_one(executor)
    .await
}

/// A sample of the newest runs, for the admin overview.
#[derive(Clone, Debug)]
pub struct RecentRuns {
    /// Number of runs in the sample.
    pub runs: i64,
    /// How many of them were posted within the last five minutes.
    pub last_5_min: i64,
    /// How many succeeded.
    pub succeeded: i64,
    /// How many failed.
    pub failed: i64,
    /// How many were cancelled.
    pub cancelled: i64,
    /// Age of the oldest of them, in seconds.
    pub oldest_seconds: Option<f64>,
    /// Average duration of the finished ones from their last claim, in seconds.
    pub service_seconds: Option<f64>,
}

/// Summarises the runs of the last hour, or the newest `max` of them. `since` is a run id from before that hour: ids grow with
/// time, so it limits the scan.
///
/// # Errors
/// A database error.
pub async fn recent_runs(
    executor: impl PgExecutor<'_>,
    since: Uuid,
    max: i64,
) -> Result<RecentRuns, sqlx::Error> {
    sqlx::query_as!(
        RecentRuns,
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
        max
    )
    .fetch_one(executor)
    .await
}
