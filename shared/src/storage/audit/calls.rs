//! The journal, and what the messages and the usage say of it.

use sqlx::PgConnection;

use super::{Found, Limits};

/// No step and no call of a step is there twice, and no call is without its step. Of a dropped journal nothing is there.
pub(super) async fn journal(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || run_id || ' step ' || step AS what FROM steps
            GROUP BY run_id, step HAVING count(*) > 1
            UNION ALL
            SELECT 'run ' || run_id || ' step ' || step || ' call ' || call_index FROM tool_calls
            GROUP BY run_id, step, call_index HAVING count(*) > 1
            UNION ALL
            SELECT 'run ' || k.run_id || ' step ' || k.step || ' call ' || k.call_index FROM tool_calls k
            WHERE NOT EXISTS (SELECT FROM steps s WHERE s.run_id = k.run_id AND s.step = k.step)
            UNION ALL
            SELECT 'run ' || s.run_id || ' step ' || s.step FROM steps s
            WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = s.run_id)
            UNION ALL
            -- A journal that was dropped is gone, and only that of a run whose reply has it all.
            SELECT 'run ' || r.id FROM runs r
            WHERE r.journal_dropped_at IS NOT NULL
              AND (r.status <> 'succeeded' OR EXISTS (SELECT FROM steps s WHERE s.run_id = r.id))
        )
        SELECT (SELECT count(*) FROM steps) + (SELECT count(*) FROM tool_calls) AS "examined!",
            (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// What was journalled before it was made: the call that was made is the one that was asked for; one that needs consent did
/// something only if its user had approved in time; only the last step of an open run has calls without results.
pub(super) async fn consents(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
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

/// The tool rows of a final run are its journalled calls in order; an open run has none.
pub(super) async fn tool_rows(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT DISTINCT 'run ' || COALESCE(k.run_id, m.run_id) AS what
            FROM (
                SELECT t.run_id, t.tool_call_id, t.tool_name, t.result,
                    row_number() OVER (PARTITION BY t.run_id ORDER BY t.step, t.call_index) AS nth
                FROM tool_calls t JOIN runs r ON r.id = t.run_id
                WHERE r.status IN ('succeeded', 'failed', 'cancelled')
            ) k
            FULL JOIN (SELECT t.run_id, t.slot, t.tool_call_id, t.name, t.content
                FROM messages t LEFT JOIN runs r ON r.id = t.run_id
                WHERE t.role = 'tool' AND r.journal_dropped_at IS NULL) m
                ON m.run_id = k.run_id AND m.slot = k.nth
            WHERE k.run_id IS NULL OR m.run_id IS NULL OR m.tool_call_id IS DISTINCT FROM k.tool_call_id
               OR m.name IS DISTINCT FROM k.tool_name OR m.content IS DISTINCT FROM k.result::text
        )
        SELECT (SELECT count(*) FROM tool_calls) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// A reply's `tool_calls` are the journalled ones in order, with the user's id among the arguments.
pub(super) async fn reply_calls(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH journal AS (
            SELECT k.run_id, jsonb_agg(jsonb_build_array(k.tool_call_id, k.tool_name,
                CASE jsonb_typeof(k.arguments) WHEN 'object' THEN k.arguments - 'user_id' ELSE '{}' END
                    || jsonb_build_object('user_id', r.user_id), k.result) ORDER BY k.step, k.call_index) AS calls
            FROM tool_calls k JOIN runs r ON r.id = k.run_id WHERE r.status = 'succeeded'
            GROUP BY k.run_id
        ), bad AS MATERIALIZED (
            SELECT 'run ' || m.run_id AS what
            FROM (
                SELECT t.run_id, CASE jsonb_typeof(t.tool_calls) WHEN 'array' THEN
                    (SELECT COALESCE(jsonb_agg(jsonb_build_array(c.value -> 'tool_call_id', c.value -> 'tool_name',
                        c.value -> 'arguments', c.value -> 'result') ORDER BY c.nth), '[]')
                    FROM jsonb_array_elements(t.tool_calls) WITH ORDINALITY AS c (value, nth)) END AS calls
                FROM messages t LEFT JOIN runs r ON r.id = t.run_id
                WHERE t.role = 'assistant' AND r.journal_dropped_at IS NULL
            ) m LEFT JOIN journal j ON j.run_id = m.run_id
            WHERE m.calls IS DISTINCT FROM COALESCE(j.calls, '[]')
        )
        SELECT (SELECT count(*) FROM messages WHERE role = 'assistant') AS "examined!",
            (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// The tokens of a final run are the sum over its steps.
pub(super) async fn usage(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'run ' || r.id AS what
            FROM runs r LEFT JOIN (
                SELECT run_id, sum(prompt_tokens) AS prompt, sum(completion_tokens) AS completion
                FROM steps GROUP BY run_id
            ) s ON s.run_id = r.id
            WHERE r.status IN ('succeeded', 'failed', 'cancelled') AND r.journal_dropped_at IS NULL
              AND (r.prompt_tokens <> COALESCE(s.prompt, 0) OR r.completion_tokens <> COALESCE(s.completion, 0))
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
