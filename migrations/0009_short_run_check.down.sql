ALTER TABLE runs
    DROP CONSTRAINT run_fields,
    ADD CONSTRAINT runs_status_check
        CHECK (status IN ('queued', 'running', 'waiting_approval', 'succeeded', 'failed', 'cancelled')),
    ADD CONSTRAINT runs_request_id_check CHECK (char_length(request_id) <= 128),
    ADD CONSTRAINT runs_traceparent_check CHECK (char_length(traceparent) <= 128),
    ADD CONSTRAINT run_fields CHECK (CASE status
        WHEN 'queued' THEN lease_token IS NULL AND worker_id IS NULL AND finished_at IS NULL
        WHEN 'running' THEN lease_token IS NOT NULL AND worker_id IS NOT NULL AND deadline_at IS NOT NULL
                            AND finished_at IS NULL
        WHEN 'waiting_approval' THEN lease_token IS NULL AND worker_id IS NULL AND finished_at IS NULL
        WHEN 'failed' THEN lease_token IS NULL AND finished_at IS NOT NULL AND final_event_seq IS NOT NULL
                           AND failure_reason IS NOT NULL
        ELSE lease_token IS NULL AND finished_at IS NOT NULL AND final_event_seq IS NOT NULL END);
