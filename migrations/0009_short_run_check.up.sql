-- The same rules in one short text. Postgres reads the text of each check of a table anew for every statement that writes to
-- it, which takes longer than to judge a row by it.

-- Who has a lease runs; who has an end is over; everybody else waits. That existing rows keep it is said to Postgres by a
-- migration of its own, under a lock that lets everybody write.
ALTER TABLE runs
    DROP CONSTRAINT run_fields,
    DROP CONSTRAINT runs_status_check,
    -- The API sees to it before it posts.
    DROP CONSTRAINT runs_request_id_check,
    DROP CONSTRAINT runs_traceparent_check,
    ADD CONSTRAINT run_fields CHECK (CASE
        WHEN lease_token IS NOT NULL THEN status = 'running' AND worker_id IS NOT NULL AND deadline_at IS NOT NULL
                                          AND finished_at IS NULL
        WHEN finished_at IS NOT NULL THEN final_event_seq IS NOT NULL
                                          AND (status IN ('succeeded', 'cancelled')
                                               OR status = 'failed' AND failure_reason IS NOT NULL)
        ELSE worker_id IS NULL AND status IN ('queued', 'waiting_approval') END) NOT VALID;
