//! The statements of the rescuer: short, and any worker may execute them at any time.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{signals::wire::ReadyNotice, storage::runs::QueuedRun};

/// A running run whose worker is dead, or that is past its deadline.
#[derive(Clone, Debug)]
pub struct StuckRun {
    /// The run.
    pub run_id: Uuid,
    /// Its lease.
    pub token: Uuid,
    /// Its epoch.
    pub epoch: i32,
    /// How many times its worker has died before.
    pub rescues: i32,
    /// Whether its user requested a cancellation.
    pub cancel_requested: bool,
    /// Whether its deadline has passed.
    pub overdue: bool,
}

/// Finds running runs whose worker's last heartbeat is more than `dead_after_seconds` ago, or that is not registered. Skips runs
/// that were claimed more recently than that: their worker may have been suspended and have resumed.
///
/// # Errors
/// A database error.
pub async fn find_orphans(
    executor: impl PgExecutor<'_>,
    dead_after_seconds: f64,
    limit: i64,
) -> Result<Vec<StuckRun>, sqlx::Error> {
    sqlx::query_as!(
        StuckRun,
        r#"
        WITH RECURSIVE holders AS (
            -- The workers that have running runs: one index lookup per worker, however many runs it has.
            (SELECT worker_id FROM runs WHERE status = 'running' ORDER BY worker_id LIMIT 1)
            UNION ALL
            SELECT (SELECT n.worker_id FROM runs n WHERE n.status = 'running' AND n.worker_id > h.worker_id
                ORDER BY n.worker_id LIMIT 1)
            FROM holders h WHERE h.worker_id IS NOT NULL
        )
        SELECT r.id AS "run_id!", r.lease_token AS "token!", r.epoch AS "epoch!", r.rescues AS "rescues!",
            r.cancel_requested_at IS NOT NULL AS "cancel_requested!", r.deadline_at <= now() AS "overdue!"
        FROM holders h
        LEFT JOIN workers w ON w.id = h.worker_id
        JOIN runs r ON r.worker_id = h.worker_id AND r.status = 'running'
        WHERE (w.id IS NULL OR w.heartbeat_at < now() - make_interval(secs => $1))
          AND r.claimed_at < now() - make_interval(secs => $1)
        LIMIT $2
        "#,
        dead_after_seconds,
        limit
    )
    .fetch_all(executor)
    .await
}

/// Finds running runs that passed their deadline more than `grace_seconds` ago, also those of live workers.
///
/// # Errors
/// A database error.
pub async fn find_overdue(
    executor: impl PgExecutor<'_>,
    grace_seconds: f64,
    limit: i64,
) -> Result<Vec<StuckRun>, sqlx::Error> {
    sqlx::query_as!(
        StuckRun,
        r#"
        SELECT r.run_id AS "run_id!", r.token AS "token!", r.epoch AS "epoch!", r.rescues AS "rescues!",
            r.cancel_requested AS "cancel_requested!", true AS "overdue!"
        FROM workers w CROSS JOIN LATERAL (
            SELECT o.id AS run_id, o.lease_token AS token, o.epoch, o.rescues,
                o.cancel_requested_at IS NOT NULL AS cancel_requested
            FROM runs o
            WHERE o.status = 'running' AND o.worker_id = w.id
              AND o.deadline_at < now() - make_interval(secs => $1)
            ORDER BY o.deadline_at LIMIT $2
        ) r
        LIMIT $2
        "#,
        grace_seconds,
        limit
    )
    .fetch_all(executor)
    .await
}

/// Queues the runs of dead workers again. Each run is fenced by the lease that the caller saw. Returns the queued runs.
///
/// # Errors
/// A database error.
pub async fn requeue(
    executor: impl PgExecutor<'_>,
    run_ids: &[Uuid],
    tokens: &[Uuid],
) -> Result<Vec<QueuedRun>, sqlx::Error> {
    sqlx::query_as!(
        QueuedRun,
        r#"
        WITH lost AS MATERIALIZED (
            -- Locks the runs whose lease is unchanged. Another rescuer may be handling the same runs: skip them.
            SELECT r.id FROM runs r JOIN unnest($1::uuid[], $2::uuid[]) AS i (run_id, token) ON r.id = i.run_id
            WHERE r.lease_token = i.token
            ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
        )
        UPDATE runs r SET status = 'queued', lease_token = NULL, worker_id = NULL, epoch = r.epoch + 1,
            rescues = r.rescues + 1, last_error = 'the worker died', available_at = now(),
            ring_at = now() + interval '5 seconds' /* renotify */
        FROM lost l WHERE r.id = l.id
        RETURNING r.id AS run_id, r.user_id, r.conversation_id, r.attempt, r.epoch
        "#,
        run_ids,
        tokens
    )
    .fetch_all(executor)
    .await
}

/// Returns the ready runs whose notification is due again, and sets the next time for all queued runs that were due: after
/// five seconds first, then after doubling intervals of at most a minute. A hundred thousand waiting runs therefore do not
/// cause a hundred thousand notifications per second.
///
/// # Errors
/// A database error.
pub async fn take_due_notifications(
    executor: impl PgExecutor<'_>,
    limit: i64,
) -> Result<Vec<ReadyNotice>, sqlx::Error> {
    sqlx::query_as!(
        ReadyNotice,
        r#"
        WITH due AS MATERIALIZED (
            SELECT r.id FROM runs r WHERE r.status = 'queued' AND r.ring_at <= now()
            ORDER BY r.ring_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
        ), scheduled AS (
            -- The interval is the time that the run has waited so far, which doubles the waiting time.
            UPDATE runs r SET ring_at = now()
                + LEAST(GREATEST(interval '5 seconds', now() - r.queued_at), interval '1 minute') -- renotify
            FROM due d WHERE r.id = d.id
            RETURNING r.id, r.user_id, r.conversation_id, r.seq
        )
        SELECT r.user_id, r.id AS run_id FROM scheduled r
        WHERE NOT EXISTS (SELECT FROM runs e -- first open run
            WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
              AND e.status IN ('queued', 'running', 'waiting_approval'))
        "#,
        limit
    )
    .fetch_all(executor)
    .await
}
