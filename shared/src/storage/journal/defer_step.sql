-- Records step $3 of run $1 with its pending calls, under lease $2. If a call needs approval, the run starts to wait for its
-- user in the same statement. $18: seconds that the user has to decide.
WITH fence AS MATERIALIZED (
    -- Locks the run if the lease is still valid and the previous step exists (see record_steps.sql).
    SELECT r.id, r.cancel_requested_at IS NOT NULL AS cancel_requested FROM runs r
    WHERE r.id = $1 AND r.lease_token = $2
      AND ($3::int2 = 0 OR (SELECT true FROM steps b WHERE b.run_id = $1 AND b.step = $3::int2 - 1))
    FOR NO KEY UPDATE OF r
), allowed AS MATERIALIZED (
    -- Nothing is recorded for a run that its user wants cancelled.
    SELECT id FROM fence WHERE NOT cancel_requested
), new_step AS (
    INSERT INTO steps (run_id, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms,
        usage_estimated, provider_data)
    SELECT id, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM allowed
), new_calls AS (
    -- The pending calls. Only calls that need approval expire.
    INSERT INTO asked_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, refusal, expires_at)
    SELECT o.id, $3, t.call_index, t.tool_call_id, t.tool_name, t.arguments, t.refusal,
        CASE WHEN t.needs_approval THEN now() + make_interval(secs => $18) END
    FROM allowed o, unnest($12::int2[], $13::text[], $14::text[], $15::jsonb[], $16::text[], $17::bool[])
        AS t (call_index, tool_call_id, tool_name, arguments, refusal, needs_approval)
), waiting AS (
    -- Ends the lease if a call needs approval. The deadline is suspended: time_left keeps the rest.
    UPDATE runs r SET status = 'waiting_approval', lease_token = NULL, worker_id = NULL, epoch = r.epoch + 1,
        parked_until = now() + make_interval(secs => $18),
        time_left = GREATEST(r.deadline_at - now(), interval '0'), deadline_at = NULL
    FROM allowed o WHERE r.id = o.id AND true = ANY($17::bool[])
    RETURNING r.epoch, r.parked_until
)
SELECT f.cancel_requested AS "cancel_requested!", p.epoch AS "epoch?", p.parked_until AS "parked_until?"
FROM fence f LEFT JOIN waiting p ON true
