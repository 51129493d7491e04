-- Finds at most $2 ready runs, fairly between users. Starts after user $1 and considers at most $3 users.
WITH RECURSIVE users AS (
    -- The users that have open runs: one index lookup per user, however many runs the user has.
    (SELECT user_id FROM runs WHERE status IN ('queued', 'running', 'waiting_approval') AND user_id > $1 -- open run
        ORDER BY user_id LIMIT 1)
    UNION ALL
    SELECT (SELECT n.user_id FROM runs n
        WHERE n.status IN ('queued', 'running', 'waiting_approval') AND n.user_id > u.user_id -- open run
        ORDER BY n.user_id LIMIT 1)
    FROM users u WHERE u.user_id IS NOT NULL
)
SELECT r.user_id AS "user_id!", r.id AS "run_id!"
FROM (SELECT user_id FROM users WHERE user_id IS NOT NULL LIMIT $3) u
CROSS JOIN LATERAL (
    -- The user's ready runs, ranked: the first after as many as the user has running, the second one later, and so on.
    SELECT q.user_id, q.id, q.ring_at, row_number() OVER (ORDER BY q.ring_at)
        + (SELECT count(*) FROM (SELECT FROM runs h WHERE h.user_id = u.user_id AND h.status = 'running'
            LIMIT $2) held) AS rank
    FROM (
        SELECT w.user_id, w.id, w.ring_at FROM runs w
        WHERE w.user_id = u.user_id AND w.status = 'queued' AND w.available_at <= now()
          AND NOT EXISTS (SELECT FROM runs e -- first open run
            WHERE e.user_id = w.user_id AND e.conversation_id = w.conversation_id AND e.seq < w.seq
              AND e.status IN ('queued', 'running', 'waiting_approval'))
        LIMIT $2
    ) q
) r
ORDER BY r.rank, r.ring_at LIMIT $2
