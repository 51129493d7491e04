//! Checks of single runs: message, final state, reply, owner, idempotency key.

use sqlx::PgConnection;

use super::{AuditLimits, Found};

/// Every run has one user message, with the same sequence number, and every user message has a run.
pub(super) async fn messages(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what
            FROM runs r LEFT JOIN messages m ON m.run_id = r.id AND m.role = 'user'
            GROUP BY r.id, r.conversation_id, r.seq
            HAVING count(m.id) <> 1 OR bool_or((m.conversation_id, m.seq) <> (r.conversation_id, r.seq))
            UNION ALL
            SELECT 'message ' || m.id FROM messages m
            WHERE m.role = 'user' AND NOT EXISTS (SELECT FROM runs r WHERE r.id = m.run_id)
        )
        SELECT (SELECT count(*) FROM runs) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// The columns of a run match its status.
pub(super) async fn ends(connection: &mut PgConnection, limits: AuditLimits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || id AS what FROM runs WHERE NOT CASE status
                WHEN 'queued' THEN lease_token IS NULL AND worker_id IS NULL AND finished_at IS NULL
                    AND final_event_seq IS NULL
                WHEN 'waiting_approval' THEN lease_token IS NULL AND worker_id IS NULL AND finished_at IS NULL
                    AND final_event_seq IS NULL
                WHEN 'running' THEN lease_token IS NOT NULL AND worker_id IS NOT NULL AND deadline_at IS NOT NULL
                    AND finished_at IS NULL AND final_event_seq IS NULL
                WHEN 'succeeded' THEN lease_token IS NULL AND finished_at IS NOT NULL AND failure_reason IS NULL
                WHEN 'cancelled' THEN lease_token IS NULL AND finished_at IS NOT NULL AND failure_reason IS NULL
                WHEN 'failed' THEN lease_token IS NULL AND finished_at IS NOT NULL AND failure_reason IS NOT NULL
                ELSE false END
        )
        SELECT (SELECT count(*) FROM runs) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// A run that succeeded has one reply, any other has none. Every reply has a run.
pub(super) async fn replies(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what
            FROM runs r LEFT JOIN messages m ON m.run_id = r.id AND m.role = 'assistant'
            GROUP BY r.id, r.status
            HAVING count(m.id) <> CASE r.status WHEN 'succeeded' THEN 1 ELSE 0 END
            UNION ALL
            SELECT 'message ' || m.id FROM messages m
            WHERE m.role = 'assistant' AND NOT EXISTS (SELECT FROM runs r WHERE r.id = m.run_id)
        )
        SELECT (SELECT count(*) FROM runs) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// The final event of a finished run has a number of the run's epoch, so that the event can be rebuilt for a late subscriber. Its
/// other contents are the reply and the reason, which [`replies`] and [`ends`] check.
pub(super) async fn final_events(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            -- An epoch has 2^20 numbers; the first event of an epoch has number 1.
            SELECT 'run ' || id AS what FROM runs
            WHERE status IN ('succeeded', 'failed', 'cancelled')
              AND (final_event_seq IS NULL OR final_event_seq >> 20 <> epoch OR final_event_seq & 1048575 = 0)
        )
        SELECT (SELECT count(*) FROM runs WHERE status IN ('succeeded', 'failed', 'cancelled')) AS "examined!",
            (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// A run belongs to the user of its conversation, and its messages belong to that conversation.
pub(super) async fn owners(connection: &mut PgConnection, limits: AuditLimits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what FROM runs r LEFT JOIN conversations c ON c.id = r.conversation_id
            WHERE c.user_id IS DISTINCT FROM r.user_id
            UNION ALL
            SELECT 'message ' || m.id FROM messages m LEFT JOIN runs r ON r.id = m.run_id
            WHERE r.conversation_id IS DISTINCT FROM m.conversation_id
        )
        SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM messages) AS "examined!",
            (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// An idempotency key names a run of its user, or none if that run was deleted.
pub(super) async fn keys(connection: &mut PgConnection, limits: AuditLimits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || k.run_id || ' by a key of user ' || k.user_id AS what
            FROM idempotency_keys k LEFT JOIN runs r ON r.id = k.run_id
            WHERE k.run_id IS NOT NULL AND r.user_id IS DISTINCT FROM k.user_id
        )
        SELECT (SELECT count(*) FROM idempotency_keys) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}
