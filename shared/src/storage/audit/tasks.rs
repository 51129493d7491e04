//! The to-do lists, and the tool calls that made them.
//!
//! A task can be made and deleted by its user directly, which leaves no call behind, and the calls of a deleted
//! conversation are gone with it. So the book shows of any database that no two calls had one effect and that
//! a deletion took place; that a call's effect did not happen twice, or got lost, it shows only where tasks come from chats alone.

use sqlx::PgConnection;

use super::{Found, Limits};

/// A user's task numbers are unique and not above the user's counter.
pub(super) async fn numbers(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'user ' || user_id || ' task ' || number AS what FROM tasks
            GROUP BY user_id, number HAVING count(*) > 1
            UNION ALL
            SELECT 'user ' || t.user_id || ' task ' || t.number
            FROM tasks t LEFT JOIN task_counters c ON c.user_id = t.user_id
            WHERE t.number < 1 OR t.number > COALESCE(c.last_number, 0)
        )
        SELECT (SELECT count(*) FROM tasks) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// Each successful `add_task` has a number of its own that was handed out; each successful `delete_task` one of its own
/// that no task has any more.
pub(super) async fn effects(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH calls AS (
            SELECT k.run_id, k.step, k.call_index, k.tool_name, r.user_id,
                CASE k.tool_name WHEN 'add_task' THEN k.result #> '{task,id}' ELSE k.result #> '{deleted_task,id}' END
                    AS number
            FROM tool_calls k JOIN runs r ON r.id = k.run_id
            WHERE k.success AND k.tool_name IN ('add_task', 'delete_task')
        ), counted AS (
            SELECT *, CASE jsonb_typeof(number) WHEN 'number' THEN number::numeric END AS task,
                count(*) OVER (PARTITION BY user_id, tool_name, number) AS calls
            FROM calls
        ), bad AS MATERIALIZED (
            SELECT 'run ' || c.run_id || ' step ' || c.step || ' call ' || c.call_index AS what
            FROM counted c
            LEFT JOIN task_counters n ON n.user_id = c.user_id
            LEFT JOIN tasks t ON c.tool_name = 'delete_task' AND t.user_id = c.user_id AND t.number = c.task
            WHERE c.task IS NULL OR c.calls > 1 OR c.task < 1 OR c.task > COALESCE(n.last_number, 0)
               OR t.user_id IS NOT NULL
        )
        SELECT (SELECT count(*) FROM calls) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// Each number that was ever handed out comes from one call, and each task that is gone was deleted by one: true only
/// where nobody changes tasks but the tools of chats, and no conversation was deleted.
pub(super) async fn origins(connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH numbers AS (
            SELECT c.user_id, g.number FROM task_counters c, generate_series(1, c.last_number) AS g (number)
        ), made AS (
            SELECT r.user_id, k.result #>> '{task,id}' AS number, count(*) AS calls
            FROM tool_calls k JOIN runs r ON r.id = k.run_id
            WHERE k.success AND k.tool_name = 'add_task' GROUP BY 1, 2
        ), gone AS (
            SELECT r.user_id, k.result #>> '{deleted_task,id}' AS number, count(*) AS calls
            FROM tool_calls k JOIN runs r ON r.id = k.run_id
            WHERE k.success AND k.tool_name = 'delete_task' GROUP BY 1, 2
        ), bad AS MATERIALIZED (
            SELECT 'user ' || n.user_id || ' task ' || n.number AS what
            FROM numbers n
            LEFT JOIN made m ON m.user_id = n.user_id AND m.number = n.number::text
            LEFT JOIN gone g ON g.user_id = n.user_id AND g.number = n.number::text
            LEFT JOIN tasks t ON t.user_id = n.user_id AND t.number = n.number
            WHERE m.calls IS DISTINCT FROM 1 OR COALESCE(g.calls, 0) <> CASE WHEN t.user_id IS NULL THEN 1 ELSE 0 END
        )
        SELECT (SELECT count(*) FROM numbers) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}
