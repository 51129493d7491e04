-- Steps that are journalled before their calls are made, and runs that wait for their user's consent.

-- A call that a model asked for, from the commit of its step on; it is done once tool_calls has its result. Calls that are
-- made together with their step never come here.
CREATE TABLE asked_calls (
    run_id       uuid NOT NULL,
    step         smallint NOT NULL,
    call_index   smallint NOT NULL CHECK (call_index >= 0),
    tool_call_id varchar(255) NOT NULL,
    tool_name    varchar(100) NOT NULL,
    -- As in tool_calls. What is made is this and nothing else.
    arguments    jsonb NOT NULL,
    -- Why the arguments were refused, if they were.
    refusal      text,
    -- Until when the user's consent can be given; null for a call that needs none.
    expires_at   timestamptz,
    -- What the user said, and when.
    approved     boolean,
    decided_at   timestamptz,
    -- Of a call whose effect is not in this database: before its first try.
    started_at   timestamptz,
    PRIMARY KEY (run_id, step, call_index),
    FOREIGN KEY (run_id, step) REFERENCES steps ON DELETE CASCADE,
    CONSTRAINT asked_calls_decided CHECK ((approved IS NULL) = (decided_at IS NULL)
        AND (approved IS NULL OR expires_at IS NOT NULL))
);

ALTER TABLE runs
    -- Of a parked run: when somebody must look after it. Left as it was afterwards.
    ADD COLUMN parked_until timestamptz,
    -- How long it was from the deadline when it was parked; its next claim sets the deadline anew from it.
    ADD COLUMN time_left    interval;

-- Whose consent is due.
CREATE INDEX runs_parked ON runs (parked_until) WHERE status = 'waiting_approval';

-- A program of generation 1 parks nothing; it asks the model again where it finds a step whose calls are not made.
INSERT INTO schema_generations VALUES (8, 1);
