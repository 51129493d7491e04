//! Checks of the journal, and of the messages and token counts derived from it.

use sqlx::PgConnection;

use super::{AuditLimits, Found};

/// No step and no call is recorded twice, and no call lacks its step. A journal that retention deleted has no steps.
pub(super) async fn journal(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_file_as!(Found, "src/storage/audit/journal.sql", limits.offenders)
        .fetch_one(connection)
        .await
}

/// Calls of deferred steps: the call that was made equals the recorded one; a call that needs approval succeeded only if the
/// user approved it in time; only the last step of an open run has pending calls.
pub(super) async fn consents(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || a.run_id || ' step ' || a.step || ' call ' || a.call_index AS what
            FROM asked_calls a
            LEFT JOIN runs r ON r.id = a.run_id
            LEFT JOIN tool_calls k ON k.run_id = a.run_id AND k.step = a.step AND k.call_index = a.call_index
            LEFT JOIN (SELECT run_id, max(step) AS step FROM steps GROUP BY run_id) l ON l.run_id = a.run_id
            -- Without a result, the call must be pending in the last step of an open run. With a result, it must equal the
            -- recorded call, and have been approved in time if it succeeded.
            WHERE CASE WHEN k.run_id IS NULL
                THEN a.step IS DISTINCT FROM l.step OR r.status IS NULL OR r.status IN ('succeeded', 'failed', 'cancelled')
                ELSE (k.tool_call_id, k.tool_name, k.arguments) IS DISTINCT FROM (a.tool_call_id, a.tool_name, a.arguments)
                  OR k.success AND a.expires_at IS NOT NULL
                    AND (a.approved IS NOT TRUE OR a.decided_at IS NULL OR a.decided_at > a.expires_at) END
        )
        SELECT (SELECT count(*) FROM asked_calls) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// The tool messages of a finished run are its recorded calls in order. An open run has none.
pub(super) async fn tool_rows(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT DISTINCT 'run ' || COALESCE(k.run_id, m.run_id) AS what
            FROM (
                SELECT t.run_id, t.tool_call_id, t.tool_name, t.result,
                    CASE WHEN t.call_index = 0 THEN s.provider_data END AS provider_data,
                    row_number() OVER (PARTITION BY t.run_id ORDER BY t.step, t.call_index) AS nth
                FROM tool_calls t JOIN runs r ON r.id = t.run_id
                    LEFT JOIN steps s ON s.run_id = t.run_id AND s.step = t.step
                WHERE r.status IN ('succeeded', 'failed', 'cancelled')
            ) k
            FULL JOIN (SELECT t.run_id, t.slot, t.tool_call_id, t.name, t.content,
                    t.metadata -> 'provider_data' AS provider_data
                FROM messages t LEFT JOIN runs r ON r.id = t.run_id
                WHERE t.role = 'tool' AND r.journal_dropped_at IS NULL) m
                ON m.run_id = k.run_id AND m.slot = k.nth
            WHERE k.run_id IS NULL OR m.run_id IS NULL OR m.tool_call_id IS DISTINCT FROM k.tool_call_id
               OR m.name IS DISTINCT FROM k.tool_name OR m.content IS DISTINCT FROM k.result::text
               -- Older programs do not copy the provider's data.
               OR m.provider_data <> COALESCE(k.provider_data, 'null')
        )
        SELECT (SELECT count(*) FROM tool_calls) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// The `tool_calls` of a reply are the recorded calls in order, with the user's id among the arguments.
pub(super) async fn reply_calls(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_file_as!(Found, "src/storage/audit/reply_calls.sql", limits.offenders)
        .fetch_one(connection)
        .await
}

/// The token counts of a finished run are the sums over its steps.
pub(super) async fn usage(connection: &mut PgConnection, limits: AuditLimits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what
            FROM runs r LEFT JOIN (
                SELECT run_id, sum(prompt_tokens) AS prompt, sum(completion_tokens) AS completion,
                    bool_or(usage_estimated) AS estimated
                FROM steps GROUP BY run_id
            ) s ON s.run_id = r.id
            WHERE r.status IN ('succeeded', 'failed', 'cancelled') AND r.journal_dropped_at IS NULL
              AND (r.prompt_tokens <> COALESCE(s.prompt, 0) OR r.completion_tokens <> COALESCE(s.completion, 0)
                OR r.usage_estimated AND NOT COALESCE(s.estimated, false))
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
