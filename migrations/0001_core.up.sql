-- The book: everything that matters is a row here; Redis can be rebuilt from it.
-- Ids are UUID v7, made by the programs. Times are the database's clock.

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    email         text CHECK (char_length(email) <= 254),
    name          text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    -- PHC string (argon2id); absent for a user of an outside identity provider.
    password_hash text,
    role          text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    -- Who vouches for a user that is not ours: the token's issuer and subject.
    issuer        text,
    subject       text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_known_by CHECK ((email IS NOT NULL) OR (issuer IS NOT NULL AND subject IS NOT NULL))
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));
CREATE UNIQUE INDEX users_subject_key ON users (issuer, subject);

-- A family is the chain of refresh tokens that one login began; a token used twice revokes its family.
CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    family_id  uuid NOT NULL,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family_id);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);

-- The last task number handed out to a user: numbers are never used again.
CREATE TABLE task_counters (
    user_id     uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    last_number bigint NOT NULL CHECK (last_number > 0)
);

CREATE TABLE tasks (
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    number      bigint NOT NULL CHECK (number > 0),
    title       text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 255),
    description text CHECK (char_length(description) BETWEEN 1 AND 2000),
    completed   boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, number)
);

CREATE TABLE conversations (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    title      varchar(255) NOT NULL CHECK (char_length(title) >= 1),
    metadata   jsonb NOT NULL DEFAULT '{}',
    -- The last message sequence handed out; the row's lock makes order of commit order of sequence.
    last_seq   bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX conversations_recent ON conversations (user_id, updated_at DESC, id DESC);

-- One user message starts one run. docs/run-states.md draws the states; run_fields holds each to its fields.
CREATE TABLE runs (
    id                  uuid PRIMARY KEY,
    conversation_id     uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    user_id             uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    -- Sequence of the user's message: the order of runs within their conversation.
    seq                 bigint NOT NULL,
    status              text NOT NULL DEFAULT 'queued'
                        CHECK (status IN ('queued', 'running', 'waiting_approval', 'succeeded', 'failed', 'cancelled')),
    -- How often the run was claimed.
    attempt             integer NOT NULL DEFAULT 0,
    -- Claims that ended in a fault of the run itself, and claims whose worker died. Each has its own limit.
    failures            integer NOT NULL DEFAULT 0,
    rescues             integer NOT NULL DEFAULT 0,
    -- Grows with every change of hands; the high part of event numbers, which therefore never go back.
    epoch               integer NOT NULL DEFAULT 0,
    lease_token         uuid,
    worker_id           uuid,
    queued_at           timestamptz NOT NULL DEFAULT now(),
    -- Not to be claimed before (back-off), and when the bell is to be rung (again) if nobody came.
    available_at        timestamptz NOT NULL DEFAULT now(),
    ring_at             timestamptz NOT NULL DEFAULT now(),
    first_claimed_at    timestamptz,
    claimed_at          timestamptz,
    deadline_at         timestamptz,
    finished_at         timestamptz,
    cancel_requested_at timestamptz,
    model               text,
    prompt_tokens       bigint NOT NULL DEFAULT 0,
    completion_tokens   bigint NOT NULL DEFAULT 0,
    -- Number of the final event, once the run is final.
    final_event_seq     bigint,
    -- Why it failed: what the caller is told, and what only an operator may see.
    failure_reason      text,
    last_error          text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (conversation_id, seq),
    CONSTRAINT run_fields CHECK (CASE status
        WHEN 'queued' THEN lease_token IS NULL AND worker_id IS NULL AND finished_at IS NULL
        WHEN 'running' THEN lease_token IS NOT NULL AND worker_id IS NOT NULL AND deadline_at IS NOT NULL
                            AND finished_at IS NULL
        WHEN 'waiting_approval' THEN lease_token IS NULL AND worker_id IS NULL AND finished_at IS NULL
        WHEN 'failed' THEN lease_token IS NULL AND finished_at IS NOT NULL AND final_event_seq IS NOT NULL
                           AND failure_reason IS NOT NULL
        ELSE lease_token IS NULL AND finished_at IS NOT NULL AND final_event_seq IS NOT NULL END)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
-- In one conversation runs go one at a time.
CREATE UNIQUE INDEX runs_one_at_a_time ON runs (conversation_id) WHERE status IN ('running', 'waiting_approval');
-- Open runs of a user, and the first open run of a conversation.
CREATE INDEX runs_open ON runs (user_id, conversation_id, seq)
    WHERE status IN ('queued', 'running', 'waiting_approval');
-- Whose bell is due.
CREATE INDEX runs_ring ON runs (ring_at) WHERE status = 'queued';
-- What a worker holds, soonest deadline first.
CREATE INDEX runs_held ON runs (worker_id, deadline_at) WHERE status = 'running';
CREATE INDEX runs_user ON runs (user_id, id);

-- Slot 0 is the user's message, 1.. its tool results, 32767 the reply: at most one of each a run.
CREATE TABLE messages (
    id              uuid NOT NULL,
    conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    seq             bigint NOT NULL CHECK (seq > 0),
    run_id          uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    slot            smallint NOT NULL,
    role            text NOT NULL CHECK (role IN ('user', 'assistant', 'tool')),
    content         text NOT NULL,
    tool_calls      jsonb,
    tool_call_id    varchar(255),
    name            varchar(100),
    metadata        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (conversation_id, seq),
    UNIQUE (run_id, slot),
    CONSTRAINT messages_slot CHECK (CASE role
        WHEN 'user' THEN slot = 0
        WHEN 'assistant' THEN slot = 32767
        ELSE slot BETWEEN 1 AND 32766 AND tool_call_id IS NOT NULL END)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);

-- The journal: a step is one model call; its tool calls commit with their effects.
CREATE TABLE steps (
    run_id            uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    step              smallint NOT NULL CHECK (step >= 0),
    attempt           integer NOT NULL,
    model             text NOT NULL,
    -- What the model said beside its tool calls.
    content           text NOT NULL DEFAULT '',
    prompt_tokens     bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    model_ms          integer NOT NULL DEFAULT 0,
    tools_ms          integer NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, step)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);

CREATE TABLE tool_calls (
    run_id       uuid NOT NULL,
    step         smallint NOT NULL,
    call_index   smallint NOT NULL CHECK (call_index >= 0),
    tool_call_id varchar(255) NOT NULL,
    tool_name    varchar(100) NOT NULL,
    -- As the model gave them, without user_id; null when they were not a JSON object.
    arguments    jsonb NOT NULL,
    result       jsonb NOT NULL,
    success      boolean NOT NULL,
    PRIMARY KEY (run_id, step, call_index),
    FOREIGN KEY (run_id, step) REFERENCES steps ON DELETE CASCADE
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);

-- One row a worker, updated by the database's clock: its heartbeat vouches for all it holds.
CREATE TABLE workers (
    id           uuid PRIMARY KEY,
    host         text NOT NULL,
    version      text NOT NULL,
    concurrency  integer NOT NULL,
    in_flight    integer NOT NULL DEFAULT 0,
    draining     boolean NOT NULL DEFAULT false,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- The same key with the same fields attaches to the first run. A key outlives its run.
CREATE TABLE idempotency_keys (
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    key         varchar(255) NOT NULL,
    -- SHA-256 over the parsed fields of the request.
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    run_id      uuid REFERENCES runs ON DELETE SET NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_run ON idempotency_keys (run_id);

-- What this schema is, and the oldest program that can live with it: rolling upgrades and a rollback by one version
-- keep the old processes ready.
CREATE TABLE schema_generations (
    generation     integer PRIMARY KEY,
    oldest_program integer NOT NULL
);
INSERT INTO schema_generations VALUES (1, 1);
