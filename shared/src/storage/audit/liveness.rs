//! Checks of open runs: owned by live workers, within their deadlines, and not forgotten in the queue.
//!
//! The start of Postgres counts as a heartbeat of every worker: after an outage all heartbeats are old, and all runs have waited
//! for Postgres.

use sqlx::PgConnection;

use super::{AuditLimits, Found};

/// No run belongs to a dead or unregistered worker for longer than a rescue takes.
pub(super) async fn orphans(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
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

/// No run is past its deadline, or past the expiry of its approval, for longer than a rescue takes.
pub(super) async fn overdue(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
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

/// No ready run waits too long while live workers have free slots for all ready runs, or while no worker is alive. With more ready
/// runs than free slots, waiting is expected. A draining worker has no free slots, and a paused queue allows no claims.
pub(super) async fn waiting(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_file_as!(
        Found,
        "src/storage/audit/waiting.sql",
        limits.offenders,
        limits.alive_seconds,
        limits.queued_seconds
    )
    .fetch_one(connection)
    .await
}

/// No run is open. For the end of a test.
pub(super) async fn settled(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || id AS what FROM runs
            WHERE status IN ('queued', 'running', 'waiting_approval') -- open run
        )
        SELECT (SELECT count(*) FROM runs) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}
