/* verify */
WITH journal AS (
    -- The recorded calls of each run that succeeded, with the user's id among the arguments.
    SELECT k.run_id, jsonb_agg(jsonb_build_array(k.tool_call_id, k.tool_name,
        CASE jsonb_typeof(k.arguments) WHEN 'object' THEN k.arguments - 'user_id' ELSE '{}' END
            || jsonb_build_object('user_id', r.user_id), k.result) ORDER BY k.step, k.call_index) AS calls
    FROM tool_calls k JOIN runs r ON r.id = k.run_id WHERE r.status = 'succeeded'
    GROUP BY k.run_id
), bad AS MATERIALIZED (
    -- The replies whose calls differ from that. Runs whose journal retention has deleted are not compared.
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
