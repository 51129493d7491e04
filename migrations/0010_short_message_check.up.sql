-- As for runs: one text for three, the same rules. A migration of its own, so that it never holds more than one table's lock.
ALTER TABLE messages
    DROP CONSTRAINT messages_slot,
    DROP CONSTRAINT messages_role_check,
    DROP CONSTRAINT messages_seq_check,
    ADD CONSTRAINT messages_slot CHECK (seq > 0 AND CASE slot
        WHEN 0 THEN role = 'user'
        WHEN 32767 THEN role = 'assistant'
        ELSE slot > 0 AND role = 'tool' AND tool_call_id IS NOT NULL END) NOT VALID;
