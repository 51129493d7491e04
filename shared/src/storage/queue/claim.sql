-- Claims the ready runs among $1 for worker $2 and returns everything the worker needs to continue them.
-- $3: seconds until the deadline; $4, $5: limits of the history in turns and in bytes.
WITH ready AS MATERIALIZED (
    -- The runs that can be claimed, locked in the order of their ids. Runs locked by another transaction are skipped.
    SELECT r.id FROM runs r
    -- CASE keeps the planner away from the partial index on queued runs, which it would scan completely.
    WHERE r.id = ANY($1) AND CASE WHEN r.status = 'queued' THEN r.available_at <= now() END
      AND NOT EXISTS (SELECT FROM runs e -- first open run
        WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
          AND e.status IN ('queued', 'running', 'waiting_approval'))
    ORDER BY r.id FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    -- Starts the lease. The deadline is set by the first claim; after an approval it continues with the time that was left.
    UPDATE runs r SET status = 'running', lease_token = gen_random_uuid(), worker_id = $2,
        attempt = r.attempt + 1, epoch = r.epoch + 1, claimed_at = now(),
        first_claimed_at = COALESCE(r.first_claimed_at, now()),
        deadline_at = COALESCE(r.deadline_at, now() + COALESCE(r.time_left, make_interval(secs => $3))),
        time_left = NULL
    FROM ready w WHERE r.id = w.id
    RETURNING r.*
)
SELECT c.id, c.lease_token AS "token!", c.conversation_id, c.user_id,
    (SELECT u.name FROM users u WHERE u.id = c.user_id) AS "user_name!",
    (SELECT v.agent FROM conversations v WHERE v.id = c.conversation_id) AS agent, c.attempt,
    c.failures, c.epoch, now() AS "now!", c.deadline_at AS "deadline_at!", c.queued_at,
    -- A run can be claimed once it is queued and due and the previous run of its conversation has finished.
    GREATEST(c.queued_at, c.available_at, (SELECT b.finished_at FROM runs b
        WHERE b.conversation_id = c.conversation_id AND b.seq < c.seq ORDER BY b.seq DESC LIMIT 1))
        AS "ready_at!", c.request_id, c.traceparent,
    c.cancel_requested_at IS NOT NULL AS "cancel_requested!",
    (SELECT m.content FROM messages m WHERE m.run_id = c.id AND m.slot = 0) AS "message!",
    COALESCE((
        -- The history. First selects the newest turns by their size, then reads their messages. Arrays of fields in a
        -- fixed order, as json: Postgres writes them twice as fast as objects in jsonb.
        SELECT json_agg(json_build_array(t.status, (
            SELECT json_agg(json_build_array(h.role, h.content, h.tool_call_id, h.name, h.metadata)
                ORDER BY h.slot)
            FROM messages h WHERE h.run_id = t.id)) ORDER BY t.seq)
        FROM (SELECT p.id, p.seq, p.status, (sum(p.bytes) OVER (ORDER BY p.seq DESC))::int8 AS bytes
              FROM (SELECT e.id, e.seq, e.status,
                        (SELECT sum(octet_length(h.content)
                             + CASE h.role WHEN 'tool' THEN pg_column_size(h.metadata) ELSE 0 END)::int8
                         FROM messages h WHERE h.run_id = e.id) AS bytes
                    FROM runs e
                    WHERE e.conversation_id = c.conversation_id AND e.seq < c.seq
                    ORDER BY e.seq DESC LIMIT $4) p) t
        WHERE t.bytes <= $5
    ), '[]') AS "history!: Json<Vec<PastTurn>>",
    -- The journal of earlier attempts: each step with its recorded calls and its pending calls.
    CASE WHEN c.attempt = 1 THEN '[]' ELSE COALESCE((
        SELECT jsonb_agg(jsonb_build_object('step', s.step, 'content', s.content, 'model', s.model,
            'provider_data', s.provider_data,
            'prompt_tokens', s.prompt_tokens, 'completion_tokens', s.completion_tokens, 'calls', COALESCE((
                SELECT jsonb_agg(jsonb_build_object('tool_call_id', k.tool_call_id, 'tool_name', k.tool_name,
                    'arguments', k.arguments, 'result', k.result, 'success', k.success) ORDER BY k.call_index)
                FROM tool_calls k WHERE k.run_id = s.run_id AND k.step = s.step), '[]'),
            'pending', COALESCE((
                SELECT jsonb_agg(jsonb_build_object('index', a.call_index, 'tool_call_id', a.tool_call_id,
                    'tool_name', a.tool_name, 'arguments', a.arguments, 'refusal', a.refusal,
                    'needs_approval', a.expires_at IS NOT NULL, 'approved', a.approved,
                    'started', a.started_at IS NOT NULL) ORDER BY a.call_index)
                FROM asked_calls a WHERE a.run_id = s.run_id AND a.step = s.step
                  AND (SELECT true FROM tool_calls k WHERE k.run_id = a.run_id AND k.step = a.step
                    AND k.call_index = a.call_index) IS NULL), '[]')) ORDER BY s.step)
        FROM steps s WHERE s.run_id = c.id
    ), '[]') END AS "journal!: Json<Vec<PastStep>>"
FROM claimed c
