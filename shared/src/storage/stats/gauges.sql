-- Counts of the open runs and the workers. Considers at most $1 open runs. $2: seconds without a heartbeat after which a
-- worker counts as dead.
WITH open AS MATERIALIZED (
    SELECT conversation_id, seq, status, queued_at, available_at FROM runs
    WHERE status IN ('queued', 'running', 'waiting_approval') -- open run
    LIMIT $1
), first AS MATERIALIZED (
    -- The first open run of each conversation.
    SELECT DISTINCT ON (conversation_id) conversation_id, seq, status, queued_at, available_at FROM open
    ORDER BY conversation_id, seq
), ready AS MATERIALIZED (
    -- Since when each ready run could be claimed: once queued and due, and the previous run of its conversation finished.
    SELECT GREATEST(f.queued_at, f.available_at, (SELECT b.finished_at FROM runs b
        WHERE b.conversation_id = f.conversation_id AND b.seq < f.seq ORDER BY b.seq DESC LIMIT 1)) AS since
    FROM first f WHERE f.status = 'queued' AND f.available_at <= now()
), known_workers AS MATERIALIZED (
    SELECT w.draining, w.concurrency, w.in_flight,
        w.heartbeat_at < now() - make_interval(secs => $2) AS dead
    FROM workers w
)
SELECT (SELECT count(*) FROM open WHERE status = 'queued') AS "queued!",
    (SELECT count(*) FROM open WHERE status = 'running') AS "running!",
    (SELECT count(*) FROM open WHERE status = 'waiting_approval') AS "waiting_approval!",
    (SELECT count(*) FROM ready) AS "ready!",
    (SELECT extract(epoch FROM now() - min(since)) FROM ready)::float8 AS oldest_seconds,
    EXISTS (SELECT FROM queue_control WHERE paused_at IS NOT NULL) AS "paused!",
    (SELECT count(*) FROM known_workers WHERE NOT dead AND NOT draining) AS "alive!",
    (SELECT count(*) FROM known_workers WHERE NOT dead AND draining) AS "draining!",
    (SELECT count(*) FROM known_workers WHERE dead) AS "dead!",
    (SELECT COALESCE(sum(concurrency), 0)::int8 FROM known_workers WHERE NOT dead AND NOT draining) AS "capacity!",
    (SELECT COALESCE(sum(in_flight), 0)::int8 FROM known_workers WHERE NOT dead) AS "in_flight!"
