/* verify */
WITH calls AS (
    -- The successful calls that add or delete a task, with the task's number from their result.
    SELECT k.run_id, k.step, k.call_index, k.tool_name, r.user_id,
        CASE k.tool_name WHEN 'add_task' THEN k.result #> '{task,id}' ELSE k.result #> '{deleted_task,id}' END
            AS number
    FROM tool_calls k JOIN runs r ON r.id = k.run_id
    WHERE k.success AND k.tool_name IN ('add_task', 'delete_task')
), counted AS (
    -- The same with how many calls of the tool name that task.
    SELECT *, CASE jsonb_typeof(number) WHEN 'number' THEN number::numeric END AS task,
        count(*) OVER (PARTITION BY user_id, tool_name, number) AS calls
    FROM calls
), bad AS MATERIALIZED (
    -- Calls without a task, two calls for one task, numbers that were never assigned, and deleted tasks that still exist.
    SELECT 'run ' || c.run_id || ' step ' || c.step || ' call ' || c.call_index AS what
    FROM counted c
    LEFT JOIN task_counters n ON n.user_id = c.user_id
    LEFT JOIN tasks t ON c.tool_name = 'delete_task' AND t.user_id = c.user_id AND t.number = c.task
    WHERE c.task IS NULL OR c.calls > 1 OR c.task < 1 OR c.task > COALESCE(n.last_number, 0)
       OR t.user_id IS NOT NULL
)
SELECT (SELECT count(*) FROM calls) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
    ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
