-- Stores decision $3 about call $2 of run $1, and queues the run again if no other call of the step awaits approval.
WITH call AS MATERIALIZED (
    -- The call with the decision that it has so far. No row if it does not need approval.
    SELECT a.step, a.call_index, a.approved FROM asked_calls a
    WHERE a.run_id = $1 AND a.tool_call_id = $2 AND a.expires_at IS NOT NULL
), decided AS (
    -- Stores the decision if there is none yet, it is in time, and the run waits for this step, which is its last.
    UPDATE asked_calls a SET approved = $3, decided_at = now()
    FROM call c, runs r
    WHERE a.run_id = $1 AND a.step = c.step AND a.call_index = c.call_index AND a.approved IS NULL
      AND a.expires_at > now() AND r.id = $1 AND r.status = 'waiting_approval'
      AND a.step = (SELECT s.step FROM steps s WHERE s.run_id = $1 ORDER BY s.step DESC LIMIT 1)
    RETURNING a.step, a.call_index
), queued AS (
    -- Queues the run if this was the last decision that its step needed.
    UPDATE runs r SET status = 'queued', epoch = r.epoch + 1, available_at = now(),
        ring_at = now() + interval '5 seconds' /* renotify */
    FROM decided d
    WHERE r.id = $1 AND (SELECT true FROM asked_calls o WHERE o.run_id = $1 AND o.step = d.step
        AND o.call_index <> d.call_index AND o.expires_at IS NOT NULL AND o.approved IS NULL LIMIT 1) IS NULL
    RETURNING r.user_id, r.conversation_id, r.attempt, r.epoch
)
SELECT c.approved, (SELECT true FROM decided) AS decided, q.user_id AS "user_id?",
    q.conversation_id AS "conversation_id?", q.attempt AS "attempt?", q.epoch AS "epoch?"
FROM call c LEFT JOIN queued q ON true
