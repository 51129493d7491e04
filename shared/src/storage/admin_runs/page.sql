-- The newest $4 runs with an id below $3, of status $1 and user $2 if given.
WITH chosen AS MATERIALIZED (
    -- One branch for each way to find the rows, with the statuses written out, so that each branch uses its index.
    -- Of one user.
    (SELECT id FROM runs WHERE $2::uuid IS NOT NULL AND user_id = $2 AND ($1::text IS NULL OR status = $1)
        AND id < $3 ORDER BY id DESC LIMIT $4)
    UNION ALL
    -- All runs, and those that succeeded, which are most.
    (SELECT id FROM runs WHERE $2 IS NULL AND ($1 IS NULL OR $1 = 'succeeded' AND status = 'succeeded')
        AND id < $3 ORDER BY id DESC LIMIT $4)
    UNION ALL
    (SELECT id FROM runs WHERE $2 IS NULL AND $1 IN ('failed', 'cancelled') AND status = $1
        AND status IN ('failed', 'cancelled') AND id < $3 ORDER BY id DESC LIMIT $4)
    UNION ALL
    -- Open runs. OFFSET 0 keeps the planner from walking the primary key in search of them.
    (SELECT id FROM (SELECT id FROM runs WHERE $2 IS NULL AND $1 IN ('queued', 'running', 'waiting_approval')
        AND status = $1 AND status IN ('queued', 'running', 'waiting_approval') -- open run
        AND id < $3 OFFSET 0) open
        ORDER BY id DESC LIMIT $4)
)
SELECT r.id, r.conversation_id, r.user_id, r.status, r.attempt, r.failures, r.rescues, r.failure_reason,
    r.last_error, r.worker_id, r.model, r.prompt_tokens, r.completion_tokens, r.created_at, r.queued_at,
    r.available_at, r.first_claimed_at, r.claimed_at, r.deadline_at, r.cancel_requested_at, r.finished_at,
    r.journal_dropped_at
FROM chosen c JOIN runs r ON r.id = c.id
ORDER BY r.id DESC LIMIT $4
