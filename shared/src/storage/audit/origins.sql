/* verify */
WITH numbers AS (
    -- Every task number that was ever assigned.
    SELECT c.user_id, g.number FROM task_counters c, generate_series(1, c.last_number) AS g (number)
), added AS (
    -- How many successful calls added each task.
    SELECT r.user_id, k.result #>> '{task,id}' AS number, count(*) AS calls
    FROM tool_calls k JOIN runs r ON r.id = k.run_id
    WHERE k.success AND k.tool_name = 'add_task' GROUP BY 1, 2
), deleted AS (
    -- How many successful calls deleted each task.
    SELECT r.user_id, k.result #>> '{deleted_task,id}' AS number, count(*) AS calls
    FROM tool_calls k JOIN runs r ON r.id = k.run_id
    WHERE k.success AND k.tool_name = 'delete_task' GROUP BY 1, 2
), bad AS MATERIALIZED (
    -- Numbers that were not added by exactly one call, or missing tasks that were not deleted by exactly one call.
    SELECT 'user ' || n.user_id || ' task ' || n.number AS what
    FROM numbers n
    LEFT JOIN added m ON m.user_id = n.user_id AND m.number = n.number::text
    LEFT JOIN deleted g ON g.user_id = n.user_id AND g.number = n.number::text
    LEFT JOIN tasks t ON t.user_id = n.user_id AND t.number = n.number
    WHERE m.calls IS DISTINCT FROM 1 OR COALESCE(g.calls, 0) <> CASE WHEN t.user_id IS NULL THEN 1 ELSE 0 END
)
SELECT (SELECT count(*) FROM numbers) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
    ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
