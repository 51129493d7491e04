-- Reads the tables once, while everybody writes.
ALTER TABLE runs VALIDATE CONSTRAINT run_fields;
ALTER TABLE messages VALIDATE CONSTRAINT messages_slot;
