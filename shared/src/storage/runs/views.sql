-- The runs $1 as their users see them. With $2, only runs that have finished or await approval.
SELECT r.id, r.user_id, r.conversation_id, r.status, r.failure_reason, m.content AS "content?", r.attempt,
    r.epoch, r.created_at, r.finished_at, r.final_event_seq,
    -- Tokens: the sum over the steps, or the run's own counts once retention has deleted the steps.
    (SELECT COALESCE(sum(s.prompt_tokens), CASE WHEN r.journal_dropped_at IS NULL THEN 0 ELSE r.prompt_tokens END)::int8
        FROM steps s WHERE s.run_id = r.id) AS "prompt!",
    (SELECT COALESCE(sum(s.completion_tokens), CASE WHEN r.journal_dropped_at IS NULL THEN 0 ELSE r.completion_tokens END)::int8
        FROM steps s WHERE s.run_id = r.id) AS "completion!",
    (SELECT COALESCE(bool_or(s.usage_estimated), CASE WHEN r.journal_dropped_at IS NULL THEN false ELSE r.usage_estimated END)
        FROM steps s WHERE s.run_id = r.id) AS "usage_estimated!",
    (SELECT COALESCE(sum(s.model_ms), 0)::int8 FROM steps s WHERE s.run_id = r.id) AS "model_ms!",
    (SELECT COALESCE(sum(s.tools_ms), 0)::int8 FROM steps s WHERE s.run_id = r.id) AS "tools_ms!",
    (extract(epoch FROM COALESCE(r.first_claimed_at, now()) - r.queued_at) * 1000)::int8 AS "queue_ms!",
    -- Tool calls: from the journal, or from the reply once retention has deleted the journal.
    COALESCE(CASE WHEN r.journal_dropped_at IS NULL THEN
        (SELECT jsonb_agg(jsonb_build_object('tool_call_id', k.tool_call_id, 'tool_name', k.tool_name,
            'arguments', k.arguments, 'result', k.result, 'success', k.success) ORDER BY k.step, k.call_index)
        FROM tool_calls k WHERE k.run_id = r.id)
    ELSE
        (SELECT jsonb_agg(c.value || jsonb_build_object('success', c.value #> '{result,success}') ORDER BY c.nth)
        FROM jsonb_array_elements(m.tool_calls) WITH ORDINALITY AS c (value, nth))
    END, '[]') AS "calls!: Json<Vec<RecordedCall>>",
    -- Calls of the last step about which the user has not decided yet.
    COALESCE(CASE WHEN r.status = 'waiting_approval' THEN
        (SELECT jsonb_agg(jsonb_build_object('index', a.call_index, 'tool_call_id', a.tool_call_id,
            'tool_name', a.tool_name, 'arguments', a.arguments, 'expires_at', a.expires_at) ORDER BY a.call_index)
        FROM asked_calls a WHERE a.run_id = r.id AND a.expires_at IS NOT NULL AND a.approved IS NULL
            AND a.step = (SELECT s.step FROM steps s WHERE s.run_id = r.id ORDER BY s.step DESC LIMIT 1))
    END, '[]') AS "awaited!: Json<Vec<AwaitedCall>>"
FROM runs r LEFT JOIN messages m ON m.run_id = r.id AND m.slot = 32767 -- reply slot
WHERE r.id = ANY($1) AND (NOT $2 OR r.status IN ('waiting_approval', 'succeeded', 'failed', 'cancelled'))
