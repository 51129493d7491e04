//! What is shown of the open runs and the workers all together, by statements whose cost is bounded: to operators as metrics, to
//! users as a place in the queue.

use sqlx::PgExecutor;
use uuid::Uuid;

/// The open runs and the workers at a glance.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// Runs that wait to be claimed.
    pub queued: i64,
    /// Runs that workers hold.
    pub running: i64,
    /// Runs that are parked until their users decide.
    pub waiting_approval: i64,
    /// Queued runs that could be claimed now.
    pub ready: i64,
    /// How long the one of those has waited, in seconds, that has waited longest.
    pub oldest_seconds: Option<f64>,
    /// Whether the queue is paused.
    pub paused: bool,
    /// Workers that live and do not drain.
    pub alive: i64,
    /// Workers that live and drain.
    pub draining: i64,
    /// Workers whose heartbeat is old.
    pub dead: i64,
    /// Runs that the first of these may have at once.
    pub capacity: i64,
    /// Runs that living workers had at their last heartbeat.
    pub in_flight: i64,
}

/// Reads the gauges; of the open runs at most `most` are looked at. A worker is dead whose heartbeat is older than
/// `dead_after_seconds`.
///
/// # Errors
/// A fault of Postgres.
pub async fn read(
    executor: impl PgExecutor<'_>,
    most: i64,
    dead_after_seconds: f64,
) -> Result<Gauges, sqlx::Error> {
    sqlx::query_as!(
        Gauges,
        r#"
        WITH open AS MATERIALIZED (
            SELECT conversation_id, seq, status, queued_at, available_at FROM runs
            WHERE status IN ('queued', 'running', 'waiting_approval') LIMIT $1
        ), first AS MATERIALIZED (
            SELECT DISTINCT ON (conversation_id) conversation_id, seq, status, queued_at, available_at FROM open
            ORDER BY conversation_id, seq
        ), ready AS MATERIALIZED (
            -- A run waits since it was queued, was due, and the one before it in its conversation had ended.
            SELECT GREATEST(f.queued_at, f.available_at, (SELECT b.finished_at FROM runs b
                WHERE b.conversation_id = f.conversation_id AND b.seq < f.seq ORDER BY b.seq DESC LIMIT 1)) AS since
            FROM first f WHERE f.status = 'queued' AND f.available_at <= now()
        ), living AS MATERIALIZED (
            SELECT w.draining, w.concurrency, w.in_flight,
                w.heartbeat_at < now() - make_interval(secs => $2) AS dead
            FROM workers w
        )
        SELECT (SELECT count(*) FROM open WHERE status = 'queued') AS "queued!",
            (SELECT count(*) FROM open WHERE status = 'running') AS "running!",
            (SELECT count(*) FROM open WHERE status = 'waiting_approval') AS "waiting_approval!",
            (SELECT count(*) FROM ready) AS "ready!",
            (SELECT extract(epoch FROM now() - min(since)) FROM ready)::float8 AS oldest_seconds,
            EXISTS (SELECT FROM queue_control WHERE paused_at IS NOT NULL) AS "paused!",
            (SELECT count(*) FROM living WHERE NOT dead AND NOT draining) AS "alive!",
            (SELECT count(*) FROM living WHERE NOT dead AND draining) AS "draining!",
            (SELECT count(*) FROM living WHERE dead) AS "dead!",
            (SELECT COALESCE(sum(concurrency), 0)::int8 FROM living WHERE NOT dead AND NOT draining) AS "capacity!",
            (SELECT COALESCE(sum(in_flight), 0)::int8 FROM living WHERE NOT dead) AS "in_flight!"
        "#,
        most,
        dead_after_seconds
    )
    .fetch_one(executor)
    .await
}

/// A user whose runs wait.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// The user.
    pub user_id: Uuid,
    /// How many.
    pub runs: i64,
}

/// The users whose runs wait, those first that have most; `most` runs are looked at, at most.
///
/// # Errors
/// A fault of Postgres.
pub async fn waiting(executor: impl PgExecutor<'_>, most: i64) -> Result<Vec<Waiting>, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"
        SELECT user_id, count(*) AS "runs!" FROM (SELECT user_id FROM runs WHERE status = 'queued' LIMIT $1) queued
        GROUP BY user_id ORDER BY count(*) DESC LIMIT 10000
        "#,
        most
    )
    .fetch_all(executor)
    .await
}

/// How fast runs are served.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Runs that living workers may have at once.
    pub places: i64,
    /// How long a run took of late, from its claim, in seconds; none if none has ended yet.
    pub service_seconds: Option<f64>,
}

/// How fast runs are served: by the workers whose heartbeat is not older than `dead_after_seconds`, and as of the last 200 runs.
///
/// # Errors
/// A fault of Postgres.
pub async fn pace(executor: impl PgExecutor<'_>, dead_after_seconds: f64) -> Result<Pace, sqlx::Error> {
    sqlx::query_as!(
        Pace,
        r#"
        SELECT (SELECT COALESCE(sum(w.concurrency), 0)::int8 FROM workers w
                WHERE NOT w.draining AND w.heartbeat_at > now() - make_interval(secs => $1)) AS "places!",
            (SELECT avg(extract(epoch FROM r.finished_at - r.claimed_at))::float8
                FROM (SELECT finished_at, claimed_at FROM runs ORDER BY id DESC LIMIT 200) r) AS service_seconds
        "#,
        dead_after_seconds
    )
    .fetch_one(executor)
    .await
}
