-- Queues run $2 of user $1 again if it failed or was cancelled and is the last run of its conversation.
WITH target AS MATERIALIZED (
    SELECT r.id, r.conversation_id, r.seq, c.last_seq FROM runs r JOIN conversations c ON c.id = r.conversation_id
    WHERE r.id = $2 AND r.user_id = $1
), locked AS MATERIALIZED (
    -- Locks the conversation. If last_seq differs from the target's, a message was added while this statement waited for
    -- the lock, and the run is no longer the last.
    SELECT c.id, c.last_seq FROM conversations c WHERE c.id = (SELECT conversation_id FROM target)
    FOR NO KEY UPDATE
), queued AS (
    -- Resets the run as if it had just been posted. Its attempts continue to count.
    UPDATE runs r SET status = 'queued', finished_at = NULL, final_event_seq = NULL, failure_reason = NULL,
        cancel_requested_at = NULL, deadline_at = NULL, time_left = NULL, first_claimed_at = NULL, failures = 0,
        rescues = 0, worker_id = NULL, epoch = r.epoch + 1, queued_at = now(), available_at = now(),
        ring_at = now() + interval '5 seconds' /* renotify */
    FROM target t JOIN locked l ON l.id = t.conversation_id AND l.last_seq = t.last_seq
    WHERE r.id = t.id AND r.status IN ('failed', 'cancelled')
      AND NOT EXISTS (SELECT FROM runs n WHERE n.conversation_id = t.conversation_id AND n.seq > t.seq)
    RETURNING r.id, r.conversation_id, r.attempt, r.epoch
), withdrawn AS (
    -- Removes the tool results from the messages. They remain in the journal.
    DELETE FROM messages m USING queued q WHERE m.run_id = q.id AND m.role = 'tool'
)
SELECT t.conversation_id, q.attempt AS "attempt?", q.epoch AS "epoch?"
FROM target t LEFT JOIN queued q ON q.id = t.id
