-- Postgres can't forget that a check holds; what holds is said again without it.
ALTER TABLE messages
    DROP CONSTRAINT messages_slot,
    ADD CONSTRAINT messages_slot CHECK (seq > 0 AND CASE slot
        WHEN 0 THEN role = 'user'
        WHEN 32767 THEN role = 'assistant'
        ELSE slot > 0 AND role = 'tool' AND tool_call_id IS NOT NULL END) NOT VALID;
ALTER TABLE runs
    DROP CONSTRAINT run_fields,
    ADD CONSTRAINT run_fields CHECK (CASE
        WHEN lease_token IS NOT NULL THEN status = 'running' AND worker_id IS NOT NULL AND deadline_at IS NOT NULL
                                          AND finished_at IS NULL
        WHEN finished_at IS NOT NULL THEN final_event_seq IS NOT NULL
                                          AND (status IN ('succeeded', 'cancelled')
                                               OR status = 'failed' AND failure_reason IS NOT NULL)
        ELSE worker_id IS NULL AND status IN ('queued', 'waiting_approval') END) NOT VALID;
