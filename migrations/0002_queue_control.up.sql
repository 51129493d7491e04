-- What admins say to all workers at once: one row.
CREATE TABLE queue_control (
    -- There is only one.
    id        boolean PRIMARY KEY DEFAULT true CHECK (id),
    -- Since when no worker is to claim anything; null while they may.
    paused_at timestamptz
);
INSERT INTO queue_control DEFAULT VALUES;

-- The dead letters, newest first. Most runs never come here.
CREATE INDEX runs_ended_without_reply ON runs (id) WHERE status IN ('failed', 'cancelled');

-- A program of generation 1 works on, and does not know of the pause.
INSERT INTO schema_generations VALUES (2, 1);
