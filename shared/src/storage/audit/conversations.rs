//! Checks of the runs of a conversation: one at a time, in order, and their messages likewise.

use sqlx::PgConnection;

use super::{AuditLimits, Found};

/// A conversation has at most one run that is running or awaits approval.
pub(super) async fn one_at_a_time(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'conversation ' || conversation_id AS what FROM runs
            WHERE status IN ('running', 'waiting_approval') GROUP BY conversation_id HAVING count(*) > 1
        )
        SELECT (SELECT count(*) FROM runs WHERE status IN ('running', 'waiting_approval')) AS "examined!",
            (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// No run was claimed while an earlier run was open, and none finished before an earlier one. This applies only to runs that were
/// claimed: a queued run may be cancelled before earlier runs finish.
pub(super) async fn order(connection: &mut PgConnection, limits: AuditLimits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what FROM (
                SELECT id, claimed_at, finished_at,
                    bool_or(finished_at IS NULL) OVER earlier AS earlier_is_open,
                    max(finished_at) FILTER (WHERE claimed_at IS NOT NULL) OVER earlier AS earlier_ended
                FROM runs
                WINDOW earlier AS (PARTITION BY conversation_id ORDER BY seq
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
            ) r
            WHERE r.claimed_at IS NOT NULL AND (r.earlier_is_open OR r.finished_at < r.earlier_ended)
        )
        SELECT (SELECT count(*) FROM runs) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// Sequence numbers of a conversation are unique, and not above the conversation's counter.
pub(super) async fn sequences(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'conversation ' || conversation_id || ' message ' || seq AS what FROM messages
            GROUP BY conversation_id, seq HAVING count(*) > 1
            UNION ALL
            SELECT 'conversation ' || m.conversation_id || ' message ' || m.top
            FROM (SELECT conversation_id, max(seq) AS top FROM messages GROUP BY conversation_id) m
            LEFT JOIN conversations c ON c.id = m.conversation_id
            WHERE m.top > COALESCE(c.last_seq, 0)
        )
        SELECT (SELECT count(*) FROM messages) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// The messages that a run adds when it finishes are consecutive: tool results by slot, then the reply. They follow the user's
/// message and the messages of earlier runs. Unlike the order of finish times, this does not depend on a clock.
pub(super) async fn layout(connection: &mut PgConnection, limits: AuditLimits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH added AS (
            SELECT run_id, min(seq) AS first, max(seq) AS last, count(*) AS rows,
                max(seq) FILTER (WHERE role = 'assistant') AS reply,
                min(seq - slot) FILTER (WHERE role = 'tool') AS lowest_base,
                max(seq - slot) FILTER (WHERE role = 'tool') AS highest_base
            FROM messages WHERE role <> 'user' GROUP BY run_id
        ), bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what FROM (
                SELECT r.id, r.seq, a.*,
                    max(a.last) OVER (PARTITION BY r.conversation_id ORDER BY r.seq
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                FROM added a JOIN runs r ON r.id = a.run_id
            ) r
            WHERE r.first <= r.seq OR r.first <= r.before OR r.rows <> r.last - r.first + 1 OR r.reply <> r.last
               OR r.lowest_base <> r.highest_base
        )
        SELECT (SELECT count(*) FROM messages WHERE role <> 'user') AS "examined!",
            (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}
