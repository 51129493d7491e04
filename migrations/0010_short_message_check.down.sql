ALTER TABLE messages
    DROP CONSTRAINT messages_slot,
    ADD CONSTRAINT messages_seq_check CHECK (seq > 0),
    ADD CONSTRAINT messages_role_check CHECK (role IN ('user', 'assistant', 'tool')),
    ADD CONSTRAINT messages_slot CHECK (CASE role
        WHEN 'user' THEN slot = 0
        WHEN 'assistant' THEN slot = 32767
        ELSE slot BETWEEN 1 AND 32766 AND tool_call_id IS NOT NULL END);
