//! What is under way: held by the living, within its time, not left lying.
//!
//! Postgres's own start counts as a sign of life of everybody: after an outage all heartbeats are old, and all that waited
//! waited for Postgres.

use sqlx::PgConnection;

use super::{Found, Limits};

/// No run is held by a worker whose heartbeat is too old, or gone, for longer than it takes to rescue it.
pub(super) async fn orphans(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what FROM runs r LEFT JOIN workers w ON w.id = r.worker_id
            WHERE r.status = 'running'
              AND GREATEST(r.claimed_at, w.heartbeat_at, pg_postmaster_start_time()) < now() - make_interval(secs => $2)
        )
        SELECT (SELECT count(*) FROM runs WHERE status = 'running') AS "examined!",
            (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders,
        limits.rescue_seconds
    )
    .fetch_one(connection)
    .await
}

/// No run is running past its deadline, or parked past the time for its approval, for longer than it takes to see to it.
pub(super) async fn overdue(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || id AS what FROM runs
            WHERE GREATEST(CASE status WHEN 'running' THEN deadline_at WHEN 'waiting_approval' THEN parked_until
                ELSE 'infinity' END, pg_postmaster_start_time()) < now() - make_interval(secs => $2)
        )
        SELECT (SELECT count(*) FROM runs WHERE status IN ('running', 'waiting_approval')) AS "examined!",
            (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders,
        limits.rescue_seconds
    )
    .fetch_one(connection)
    .await
}

/// No run that could be claimed waits for long while the living workers have room for all that could be. With no
/// worker alive each such run counts; with more runs than room none does, for then waiting is their lot. A
/// worker that drains has no room, and while the queue is paused nobody has.
pub(super) async fn waiting(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH ready AS MATERIALIZED (
            SELECT r.id, GREATEST(r.available_at, pg_postmaster_start_time(), (SELECT max(e.finished_at) FROM runs e
                WHERE e.conversation_id = r.conversation_id AND e.seq < r.seq)) AS since
            FROM runs r
            WHERE r.status = 'queued' AND r.available_at <= now()
              AND NOT EXISTS (SELECT FROM runs e
                WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
                  AND e.status IN ('queued', 'running', 'waiting_approval'))
        ), living AS (
            SELECT count(*) AS workers,
                COALESCE(sum(GREATEST(concurrency - in_flight, 0)) FILTER (WHERE NOT draining), 0) AS room
            FROM workers WHERE heartbeat_at >= now() - make_interval(secs => $2)
        ), bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what FROM ready r, living l
            WHERE r.since < now() - make_interval(secs => $3)
              AND NOT EXISTS (SELECT FROM queue_control WHERE paused_at IS NOT NULL)
              AND (l.workers = 0 OR l.room >= (SELECT count(*) FROM ready))
        )
        SELECT (SELECT count(*) FROM ready) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders,
        limits.alive_seconds,
        limits.queued_seconds
    )
    .fetch_one(connection)
    .await
}

/// No run is open: for the end of a test.
pub(super) async fn settled(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || id AS what FROM runs WHERE status IN ('queued', 'running', 'waiting_approval')
        )
        SELECT (SELECT count(*) FROM runs) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}
