-- Adds tasks, each with the next number of its user, in input order.
WITH input AS MATERIALIZED (
    -- The input with each task's position among its user's tasks, and how many that user has.
    SELECT i.*, row_number() OVER (PARTITION BY i.user_id ORDER BY i.ord) AS nth,
        count(*) OVER (PARTITION BY i.user_id) AS many
    FROM unnest($1::uuid[], $2::text[], $3::text[])
        WITH ORDINALITY AS i (user_id, title, description, ord)
), counter AS (
    -- Reserves the numbers. Locks the users' counters in the order of their ids.
    INSERT INTO task_counters AS c (user_id, last_number)
    SELECT user_id, count(*) FROM input GROUP BY user_id ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE SET last_number = c.last_number + EXCLUDED.last_number
    RETURNING c.user_id, c.last_number
), numbered AS MATERIALIZED (
    SELECT i.*, c.last_number - i.many + i.nth AS number
    FROM input i JOIN counter c ON c.user_id = i.user_id
), added AS (
    INSERT INTO tasks (user_id, number, title, description)
    SELECT user_id, number, title, NULLIF(description, '') FROM numbered
    RETURNING *
)
SELECT a.number AS "id!", a.title AS "title!", a.description, a.completed AS "completed!",
    a.created_at AS "created_at!", a.updated_at AS "updated_at!"
FROM added a JOIN numbered n ON n.user_id = a.user_id AND n.number = a.number
ORDER BY n.ord
