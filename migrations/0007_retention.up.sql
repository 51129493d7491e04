-- What is kept for how long.

-- When the journal of a run that succeeded was dropped: its steps and tool calls. What its caller is told comes from the
-- reply and the run then.
ALTER TABLE runs ADD COLUMN journal_dropped_at timestamptz;

-- Whose time is over.
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);

-- A program of generation 1 works on, and tells no tool calls of a run whose journal was dropped.
INSERT INTO schema_generations VALUES (7, 1);
