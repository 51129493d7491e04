-- Records steps and their tool calls. Returns a row for each step whose lease is still valid.
WITH fence AS MATERIALIZED (
    -- Locks the runs whose lease is still valid, in the order of their ids. The token is the only condition: only a running
    -- run has one, and with a condition on the status the planner might choose the index of running runs.
    SELECT r.cancel_requested_at, i.*
    FROM unnest($1::uuid[], $2::uuid[], $3::int2[], $4::int4[], $5::text[], $6::text[], $7::int8[], $8::int8[],
                $9::int4[], $10::int4[], $11::bool[], $12::jsonb[])
        AS i (run_id, token, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms, tools_ms,
              usage_estimated, provider_data)
    JOIN runs r ON r.id = i.run_id AND r.lease_token = i.token
    -- The previous step must exist: a crash of Postgres may have lost it, because step commits are not flushed.
    -- Not EXISTS: the planner might answer it by reading all steps once.
    WHERE i.step = 0 OR (SELECT true FROM steps b WHERE b.run_id = i.run_id AND b.step = i.step - 1)
    ORDER BY r.id FOR NO KEY UPDATE OF r
), new_steps AS (
    INSERT INTO steps (run_id, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms,
        tools_ms, usage_estimated, provider_data)
    SELECT run_id, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms, tools_ms,
        usage_estimated, provider_data
    FROM fence
), new_calls AS (
    -- The calls of those steps, found by the token of their lease.
    INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
    SELECT f.run_id, f.step, t.call_index, t.tool_call_id, t.tool_name, t.arguments, t.result, t.success
    FROM unnest($13::uuid[], $14::int2[], $15::text[], $16::text[], $17::jsonb[], $18::jsonb[], $19::bool[])
        AS t (token, call_index, tool_call_id, tool_name, arguments, result, success)
    JOIN fence f ON f.token = t.token
)
SELECT token AS "token!", cancel_requested_at IS NOT NULL AS "cancel_requested!" FROM fence
