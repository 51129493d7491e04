-- Finishes run $1 with a reply, under lease $2: finish_batch.sql for the common case, in few plan nodes.
WITH locked AS MATERIALIZED (
    -- Locks the conversation and reads the last number that it has assigned.
    SELECT c.id, c.last_seq FROM conversations c WHERE c.id = (SELECT r.conversation_id FROM runs r WHERE r.id = $1)
    FOR NO KEY UPDATE
), spent AS MATERIALIZED (
    -- The tokens of the recorded steps and of the last model call.
    SELECT COALESCE(sum(s.prompt_tokens), 0)::int8 + $8::int8 AS prompt_tokens,
        COALESCE(sum(s.completion_tokens), 0)::int8 + $9::int8 AS completion_tokens,
        COALESCE(bool_or(s.usage_estimated), false) OR $13::bool AS usage_estimated,
        -- What the provider requires back with the calls of each step, if anything.
        jsonb_object_agg(s.step, s.provider_data) FILTER (WHERE s.provider_data IS NOT NULL) AS provider_data
    FROM steps s WHERE s.run_id = $1
), ended AS (
    -- Sets the final state, unless the lease is lost, the user wants the run cancelled, or the previous step is missing.
    UPDATE runs r SET status = 'succeeded', failure_reason = NULL, lease_token = NULL, finished_at = now(),
        final_event_seq = $3::int8,
        epoch = ($3 >> 20)::int4, -- epoch of the event
        prompt_tokens = s.prompt_tokens, completion_tokens = s.completion_tokens,
        usage_estimated = s.usage_estimated, model = $7::text
    FROM locked l, spent s
    WHERE r.id = $1 AND r.lease_token = $2 AND r.cancel_requested_at IS NULL
      AND ($4::int2 = 0 OR (SELECT true FROM steps b WHERE b.run_id = $1 AND b.step = $4 - 1))
    RETURNING r.conversation_id, r.user_id, r.attempt, r.finished_at, r.prompt_tokens, r.completion_tokens,
        r.usage_estimated, s.provider_data, l.last_seq
), called AS MATERIALIZED (
    -- The recorded tool calls, numbered in the order of the journal.
    SELECT t.step, t.call_index, t.tool_call_id, t.tool_name, t.arguments, t.result,
        row_number() OVER (ORDER BY t.step, t.call_index) AS nth
    FROM tool_calls t WHERE t.run_id = $1
), numbered AS (
    -- Advances the counter by the tool results and the reply.
    UPDATE conversations c SET last_seq = c.last_seq + (SELECT count(*) FROM called) + 1,
        updated_at = GREATEST(c.updated_at, clock_timestamp())
    FROM ended e WHERE c.id = e.conversation_id
    RETURNING c.id, c.last_seq
), last_step AS (
    -- Records the model call that returned the reply.
    INSERT INTO steps (run_id, step, attempt, model, prompt_tokens, completion_tokens, model_ms, usage_estimated)
    SELECT $1, $4, $5::int4, $7, $8, $9, $6::int4, $13 FROM ended
), tool_messages AS (
    INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_call_id, name, metadata)
    SELECT gen_random_uuid(), e.conversation_id, e.last_seq + k.nth, $1, k.nth, 'tool', k.result::text,
        k.tool_call_id, k.tool_name, jsonb_build_object('step', k.step, 'arguments', k.arguments)
            -- The first call of each step keeps the provider's data for later turns of the conversation.
            || CASE WHEN k.call_index = 0 AND e.provider_data ? k.step::text
                THEN jsonb_build_object('provider_data', e.provider_data -> k.step::text) ELSE '{}' END
    FROM ended e, called k
), reply AS (
    INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls)
    SELECT $10::uuid, id, last_seq, $1,
        32767, -- reply slot
        'assistant', $11::text, $12::jsonb
    FROM numbered
)
SELECT e.conversation_id AS "conversation_id!", e.user_id AS "user_id!", e.attempt AS "attempt!",
    e.finished_at AS "finished_at!", e.prompt_tokens AS "prompt_tokens!",
    e.completion_tokens AS "completion_tokens!", e.usage_estimated AS "usage_estimated!",
    (SELECT n.id FROM runs n WHERE n.user_id = e.user_id AND n.conversation_id = e.conversation_id
        AND n.status = 'queued' ORDER BY n.seq LIMIT 1) AS next,
    e.last_seq <> (SELECT seen.last_seq FROM conversations seen WHERE seen.id = e.conversation_id)
        AS "recheck_queue!"
FROM ended e
