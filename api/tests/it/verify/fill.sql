-- A database without violations: 5 conversations per user, 20 runs per conversation, one added task per run, three messages per run.
-- The setting errand.users is the number of users.
SET synchronous_commit TO off;
INSERT INTO users (id, email, name)
SELECT gen_random_uuid(), g || '@example.com', 'x' FROM generate_series(1, current_setting('errand.users')::int) g;
INSERT INTO task_counters SELECT id, 100 FROM users;
INSERT INTO tasks (user_id, number, title) SELECT id, n, 'Buy milk' FROM users, generate_series(1, 100) n;
INSERT INTO conversations (id, user_id, title, last_seq)
SELECT gen_random_uuid(), id, k::text, 60 FROM users, generate_series(0, 4) k;
INSERT INTO runs (id, conversation_id, user_id, seq, status, attempt, epoch, worker_id, claimed_at, finished_at,
    final_event_seq, prompt_tokens, completion_tokens)
SELECT gen_random_uuid(), id, user_id, g * 3 - 2, 'succeeded', 1, 1, gen_random_uuid(), now() + g * interval '1 s',
    now() + (g + 0.5) * interval '1 s', 1048577, 300, 30
FROM conversations, generate_series(1, 20) g;
INSERT INTO steps (run_id, step, attempt, model, prompt_tokens, completion_tokens)
SELECT id, s, 1, 'm', 100 + s * 100, 10 + s * 10 FROM runs, generate_series(0, 1) s;
INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
SELECT r.id, 0, 0, 'call_' || r.seq, 'add_task', '{"title": "Buy milk"}', jsonb_build_object('success', true, 'task',
    jsonb_build_object('id', c.title::int * 20 + (r.seq + 2) / 3, 'title', 'Buy milk', 'completed', false),
    'message', 'Added'), true
FROM runs r JOIN conversations c ON c.id = r.conversation_id;
INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content)
SELECT gen_random_uuid(), conversation_id, seq, id, 0, 'user', 'Please add a task to buy milk' FROM runs;
INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_call_id, name)
SELECT gen_random_uuid(), r.conversation_id, r.seq + 1, r.id, 1, 'tool', k.result::text, k.tool_call_id, k.tool_name
FROM runs r JOIN tool_calls k ON k.run_id = r.id;
INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls)
SELECT gen_random_uuid(), r.conversation_id, r.seq + 2, r.id, 32767, 'assistant', 'I have added the task.',
    jsonb_build_array(jsonb_build_object('tool_call_id', k.tool_call_id, 'tool_name', k.tool_name,
        'arguments', k.arguments || jsonb_build_object('user_id', r.user_id), 'result', k.result))
FROM runs r JOIN tool_calls k ON k.run_id = r.id;
INSERT INTO idempotency_keys (user_id, key, fingerprint, run_id)
SELECT user_id, id::text, sha256(id::text::bytea), id FROM runs;
ANALYZE;
