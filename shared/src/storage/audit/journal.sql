/* verify */
WITH bad AS MATERIALIZED (
    -- Steps that are recorded twice.
    SELECT 'run ' || run_id || ' step ' || step AS what FROM steps
    GROUP BY run_id, step HAVING count(*) > 1
    UNION ALL
    -- Calls that are recorded twice.
    SELECT 'run ' || run_id || ' step ' || step || ' call ' || call_index FROM tool_calls
    GROUP BY run_id, step, call_index HAVING count(*) > 1
    UNION ALL
    -- Calls without their step.
    SELECT 'run ' || k.run_id || ' step ' || k.step || ' call ' || k.call_index FROM tool_calls k
    WHERE NOT EXISTS (SELECT FROM steps s WHERE s.run_id = k.run_id AND s.step = k.step)
    UNION ALL
    -- Steps without their run.
    SELECT 'run ' || s.run_id || ' step ' || s.step FROM steps s
    WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = s.run_id)
    UNION ALL
    -- Runs marked as without a journal that have one, or that did not succeed and therefore need one.
    SELECT 'run ' || r.id FROM runs r
    WHERE r.journal_dropped_at IS NOT NULL
      AND (r.status <> 'succeeded' OR EXISTS (SELECT FROM steps s WHERE s.run_id = r.id))
)
SELECT (SELECT count(*) FROM steps) + (SELECT count(*) FROM tool_calls) AS "examined!",
    (SELECT count(*) FROM bad) AS "violations!",
    ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
