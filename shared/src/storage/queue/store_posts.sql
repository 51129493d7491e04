-- Stores posts: for each its message and its run, and its conversation if it starts one. Returns one outcome per post.
-- $9: the maximum number of open runs per user; 0 means no limit.
WITH judged AS MATERIALIZED (
    -- The input with a verdict per post, from the state before this statement.
    SELECT i.*,
        -- Only for posts that must not wait behind an open run: the conversation's last number, and its first open run.
        CASE WHEN i.rejecting THEN (SELECT c.last_seq FROM conversations c WHERE c.id = i.conversation_id) END
            AS seen_seq,
        CASE WHEN i.rejecting THEN (SELECT r.id FROM runs r WHERE r.user_id = i.user_id
            AND r.conversation_id = i.conversation_id
            AND r.status IN ('queued', 'running', 'waiting_approval') -- open run
            ORDER BY r.seq LIMIT 1) END AS active,
        CASE
        -- Not EXISTS: the planner might answer it by reading all keys once.
        WHEN (SELECT true FROM idempotency_keys k WHERE k.user_id = i.user_id AND k.key = i.key) THEN 'key'
        WHEN NOT i.is_new AND (SELECT c.user_id FROM conversations c WHERE c.id = i.conversation_id)
            IS DISTINCT FROM i.user_id THEN 'conversation'
        WHEN $9::int8 > 0 AND $9 < i.nth + (SELECT count(*) FROM (SELECT FROM runs r WHERE r.user_id = i.user_id
                AND r.status IN ('queued', 'running', 'waiting_approval') -- open run
                LIMIT $9) open) THEN 'open'
        ELSE 'stored' END AS verdict
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[], $6::text[], $7::text[],
                $8::bytea[], $10::bool[], $11::text[], $12::text[], $13::text[], $14::int8[])
        WITH ORDINALITY AS i (run_id, message_id, user_id, conversation_id, is_new, content, key, fingerprint,
                              rejecting, request_id, traceparent, agent, nth, ord)
), keyed AS (
    -- Reserves the idempotency keys. Of concurrent posts with the same key, one inserts the row.
    INSERT INTO idempotency_keys (user_id, key, fingerprint, run_id)
    SELECT user_id, key, fingerprint, run_id FROM judged
    WHERE verdict = 'stored' AND active IS NULL AND key IS NOT NULL
    ORDER BY user_id, key
    ON CONFLICT DO NOTHING
    RETURNING run_id
), accepted AS NOT MATERIALIZED (
    -- The posts to store: without a key, or with a key that this statement reserved.
    SELECT * FROM judged
    WHERE verdict = 'stored' AND active IS NULL AND (key IS NULL OR run_id IN (SELECT run_id FROM keyed))
), new_conversations AS (
    INSERT INTO conversations (id, user_id, title, agent, last_seq)
    SELECT conversation_id, user_id, to_char(now() AT TIME ZONE 'UTC', '"Chat "YYYY-MM-DD HH24:MI'), agent, 1
    FROM accepted WHERE is_new
), locked AS MATERIALIZED (
    -- Locks the existing conversations in the order of their ids and reads the last number that each has assigned.
    SELECT a.*, c.last_seq FROM accepted a JOIN conversations c ON c.id = a.conversation_id
    WHERE NOT a.is_new ORDER BY c.id FOR NO KEY UPDATE OF c
), admitted AS NOT MATERIALIZED (
    -- Drops posts that must not wait behind an open run if last_seq changed: while this statement waited for the lock,
    -- another transaction added messages that its snapshot does not contain.
    SELECT * FROM locked WHERE NOT rejecting OR last_seq = seen_seq
), numbered AS (
    -- Advances the counters of the existing conversations.
    UPDATE conversations c SET last_seq = c.last_seq + n.posts,
        updated_at = GREATEST(c.updated_at, clock_timestamp())
    FROM (SELECT conversation_id, count(*) AS posts FROM admitted GROUP BY conversation_id) n
    WHERE c.id = n.conversation_id
), placed AS MATERIALIZED (
    -- The posts with their sequence numbers: 1 in a new conversation, else the next numbers in input order.
    SELECT run_id, message_id, user_id, conversation_id, content, request_id, traceparent, 1::int8 AS seq
    FROM accepted WHERE is_new
    UNION ALL
    SELECT run_id, message_id, user_id, conversation_id, content, request_id, traceparent,
        last_seq + row_number() OVER (PARTITION BY conversation_id ORDER BY ord)
    FROM admitted
), new_runs AS (
    INSERT INTO runs (id, conversation_id, user_id, seq, ring_at, request_id, traceparent)
    SELECT run_id, conversation_id, user_id, seq, now() + interval '5 seconds' /* renotify */, request_id, traceparent
    FROM placed
), user_messages AS (
    INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content)
    SELECT message_id, conversation_id, seq, run_id, 0, 'user', content FROM placed
)
SELECT CASE
    WHEN j.verdict <> 'stored' THEN j.verdict
    WHEN j.active IS NOT NULL THEN 'running'
    WHEN j.run_id IN (SELECT p.run_id FROM placed p) THEN 'stored'
    -- Locked but not placed: the conversation changed.
    WHEN j.run_id IN (SELECT l.run_id FROM locked l) THEN 'changed'
    -- Accepted but not locked: the conversation was deleted.
    WHEN j.key IS NULL OR j.run_id IN (SELECT k.run_id FROM keyed k) THEN 'conversation'
    ELSE 'key' END AS "outcome!", j.active
FROM judged j ORDER BY j.ord
