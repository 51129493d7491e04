/* verify */
WITH ready AS MATERIALIZED (
    -- The runs that could be claimed, and since when. The start of Postgres counts, because after an outage every run
    -- has waited for Postgres.
    SELECT r.id, GREATEST(r.available_at, pg_postmaster_start_time(), (SELECT max(e.finished_at) FROM runs e
        WHERE e.conversation_id = r.conversation_id AND e.seq < r.seq)) AS since
    FROM runs r
    WHERE r.status = 'queued' AND r.available_at <= now()
      AND NOT EXISTS (SELECT FROM runs e -- first open run
        WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
          AND e.status IN ('queued', 'running', 'waiting_approval'))
), living AS (
    -- The workers that are alive, and their free slots.
    SELECT count(*) AS workers,
        COALESCE(sum(GREATEST(concurrency - in_flight, 0)) FILTER (WHERE NOT draining), 0) AS room
    FROM workers WHERE heartbeat_at >= now() - make_interval(secs => $2)
), bad AS MATERIALIZED (
    -- Runs that have waited too long although there is room for all ready runs, or although no worker is alive.
    SELECT 'run ' || r.id AS what FROM ready r, living l
    WHERE r.since < now() - make_interval(secs => $3)
      AND NOT EXISTS (SELECT FROM queue_control WHERE paused_at IS NOT NULL)
      AND (l.workers = 0 OR l.room >= (SELECT count(*) FROM ready))
)
SELECT (SELECT count(*) FROM ready) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
    ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
