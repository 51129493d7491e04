-- The minimal SQL of a chat with one tool call: the message, the step with its effect, and the reply, one commit each.
\set user :client_id + 1
WITH conversation AS (
    INSERT INTO conversations (id, user_id, title, last_seq)
    VALUES (gen_random_uuid(), lpad(:user::text, 32, '0')::uuid, 'Chat', 1) RETURNING id, user_id
), run AS (
    INSERT INTO runs (id, conversation_id, user_id, seq)
    SELECT gen_random_uuid(), id, user_id, 1 FROM conversation RETURNING id, conversation_id
), said AS (
    INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content)
    SELECT gen_random_uuid(), conversation_id, 1, id, 0, 'user', 'Add a task to measure 1' FROM run
)
SELECT id AS run, conversation_id AS conversation FROM run \gset
-- The model is called here.
WITH claimed AS (
    UPDATE runs SET status = 'running', attempt = 1, lease_token = gen_random_uuid(), worker_id = id,
        first_claimed_at = now(), claimed_at = now(), deadline_at = now() + interval '5 minutes'
    WHERE id = :run::uuid AND status = 'queued' RETURNING id, user_id
), step AS (
    INSERT INTO steps (run_id, step, attempt, model) SELECT id, 0, 1, 'demo' FROM claimed RETURNING run_id
), number AS (
    INSERT INTO task_counters AS c (user_id, last_number) SELECT user_id, 1 FROM claimed
    ON CONFLICT (user_id) DO UPDATE SET last_number = c.last_number + 1 RETURNING user_id, last_number
), task AS (
    INSERT INTO tasks (user_id, number, title) SELECT user_id, last_number, 'measure 1' FROM number
)
INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
SELECT run_id, 0, 0, 'call_1', 'add_task', '{"title": "measure 1"}', '{"success": true}', true FROM step;
-- The model is called here.
WITH ended AS (
    UPDATE runs SET status = 'succeeded', lease_token = NULL, finished_at = now(), final_event_seq = 1
    WHERE id = :run::uuid AND status = 'running' RETURNING id, conversation_id
), numbered AS (
    UPDATE conversations SET last_seq = 3, updated_at = now() WHERE id = (SELECT conversation_id FROM ended) RETURNING id
)
INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_call_id)
SELECT gen_random_uuid(), e.conversation_id, 2, e.id, 1, 'tool', '{"success": true}', 'call_1' FROM ended e, numbered
UNION ALL
SELECT gen_random_uuid(), e.conversation_id, 3, e.id, 32767, 'assistant', 'Added task 1.', NULL FROM ended e, numbered;
