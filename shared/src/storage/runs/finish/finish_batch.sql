-- Finishes runs: the final state, the model call that led to it, the tool results as messages, and the reply.
-- Returns a row for each run that was finished.
WITH locked AS MATERIALIZED (
    -- Locks the conversations in the order of their ids and reads the last number that each has assigned.
    SELECT i.*, r.conversation_id, c.last_seq
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int8[], $5::uuid[], $6::text[], $7::jsonb[], $8::text[],
                $9::text[], $10::int2[], $11::int4[], $12::text[], $13::int8[], $14::int8[], $15::int4[], $16::bool[])
        AS i (run_id, token, status, final_seq, message_id, content, tool_calls, reason, error, step, step_attempt, step_model,
              step_prompt_tokens, step_completion_tokens, model_ms, step_usage_estimated)
    JOIN runs r ON r.id = i.run_id
    JOIN conversations c ON c.id = r.conversation_id
    ORDER BY c.id FOR NO KEY UPDATE OF c
), ended AS (
    -- Sets the final state of the runs that are still owned by the caller.
    UPDATE runs r SET
        status = CASE WHEN r.cancel_requested_at IS NULL THEN l.status ELSE 'cancelled' END,
        failure_reason = CASE WHEN r.cancel_requested_at IS NULL THEN l.reason END,
        last_error = COALESCE(l.error, r.last_error),
        lease_token = NULL, finished_at = now(), final_event_seq = l.final_seq,
        epoch = (l.final_seq >> 20)::int4, -- epoch of the event
        prompt_tokens = s.prompt_tokens + COALESCE(l.step_prompt_tokens, 0),
        completion_tokens = s.completion_tokens + COALESCE(l.step_completion_tokens, 0),
        usage_estimated = s.usage_estimated OR COALESCE(l.step_usage_estimated, false),
        model = COALESCE(l.step_model,
            (SELECT d.model FROM steps d WHERE d.run_id = l.run_id ORDER BY d.step DESC LIMIT 1))
    FROM locked l CROSS JOIN LATERAL (
        SELECT COALESCE(sum(d.prompt_tokens), 0)::int8 AS prompt_tokens,
            COALESCE(sum(d.completion_tokens), 0)::int8 AS completion_tokens,
            COALESCE(bool_or(d.usage_estimated), false) AS usage_estimated,
            -- What the provider requires back with the calls of each step, if anything.
            jsonb_object_agg(d.step, d.provider_data) FILTER (WHERE d.provider_data IS NOT NULL) AS provider_data
        FROM steps d WHERE d.run_id = l.run_id) s
    -- CASE keeps the planner away from the partial index on open runs, which it would scan completely.
    WHERE r.id = l.run_id AND CASE WHEN r.status IN ('queued', 'running', 'waiting_approval') -- open run
        THEN r.lease_token IS NOT DISTINCT FROM l.token END
      -- Without a lease, the epoch is the fence: it must be lower than the epoch of the event.
      AND (l.token IS NOT NULL OR r.epoch < (l.final_seq >> 20)::int4)
      -- The previous step must exist: a crash of Postgres may have lost it, and then the rest is invalid too.
      AND (l.step IS NULL OR l.step = 0
        OR (SELECT true FROM steps b WHERE b.run_id = l.run_id AND b.step = l.step - 1))
    RETURNING l.*, r.status AS final_status, r.user_id, r.seq, r.attempt, r.finished_at, r.prompt_tokens,
        r.completion_tokens, r.usage_estimated, s.provider_data, (SELECT count(*) FROM tool_calls k WHERE k.run_id = r.id) AS tools
), numbered AS (
    -- Advances the counters of the conversations by the messages added below.
    UPDATE conversations c SET last_seq = c.last_seq + e.rows,
        updated_at = GREATEST(c.updated_at, clock_timestamp())
    FROM (SELECT conversation_id, sum(tools + (final_status = 'succeeded')::int)::int8 AS rows FROM ended
        GROUP BY conversation_id) e
    WHERE c.id = e.conversation_id
), last_steps AS (
    -- Records the model calls that led to the end, unless they are recorded already.
    INSERT INTO steps (run_id, step, attempt, model, prompt_tokens, completion_tokens, model_ms, usage_estimated)
    SELECT run_id, step, step_attempt, step_model, step_prompt_tokens, step_completion_tokens, model_ms,
        step_usage_estimated
    FROM ended WHERE step IS NOT NULL
), new_messages AS (
    -- The tool results in the order of the journal, in slots 1 and up; then the reply of a run that succeeded.
    INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls, tool_call_id, name,
        metadata)
    SELECT gen_random_uuid(), e.conversation_id, e.last_seq + k.nth, e.run_id, k.nth, 'tool', k.result::text, NULL,
        k.tool_call_id, k.tool_name, jsonb_build_object('step', k.step, 'arguments', k.arguments)
            -- The first call of each step keeps the provider's data for later turns of the conversation.
            || CASE WHEN k.call_index = 0 AND e.provider_data ? k.step::text
                THEN jsonb_build_object('provider_data', e.provider_data -> k.step::text) ELSE '{}' END
    FROM ended e CROSS JOIN LATERAL (SELECT t.*, row_number() OVER (ORDER BY t.step, t.call_index) AS nth
        FROM tool_calls t WHERE t.run_id = e.run_id) k
    UNION ALL
    SELECT e.message_id, e.conversation_id, e.last_seq + e.tools + 1, e.run_id,
        32767, -- reply slot
        'assistant', e.content, e.tool_calls, NULL, NULL, '{}'
    FROM ended e WHERE e.final_status = 'succeeded'
)
SELECT e.run_id AS "id!", e.final_status AS "status!", e.conversation_id AS "conversation_id!",
    e.user_id AS "user_id!", e.prompt_tokens AS "prompt_tokens!", e.completion_tokens AS "completion_tokens!",
    e.usage_estimated AS "usage_estimated!",
    e.attempt AS "attempt!", e.final_seq AS "final_event_seq!", e.finished_at AS "finished_at!",
    (SELECT n.id FROM runs n WHERE n.user_id = e.user_id AND n.conversation_id = e.conversation_id
        AND n.seq > e.seq AND n.status = 'queued' ORDER BY n.seq LIMIT 1) AS next,
    -- The subselect sees the snapshot, the lock sees the newest row. If they differ, a message was added in between.
    e.last_seq <> (SELECT seen.last_seq FROM conversations seen WHERE seen.id = e.conversation_id)
        AS "recheck_queue!"
FROM ended e
