//! The sweeps of the rescuer: short statements that any worker may run at any time.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::signals::wire::ReadyNotice;
use crate::storage::runs::QueuedRun;

/// A running run that somebody must end or take back.
#[derive(Clone, Debug)]
pub struct StuckRun {
    /// The run.
    pub run_id: Uuid,
    /// Its lease.
    pub token: Uuid,
    /// Its epoch.
    pub epoch: i32,
    /// How often a worker has died under it before.
    pub rescues: i32,
    /// Whether its user has asked for an end.
    pub cancel_requested: bool,
    /// Whether its time is over.
    pub overdue: bool,
}

/// Finds running runs whose worker's heartbeat is older than `dead_after_seconds`, or gone. A run that was claimed more
/// recently than that is left alone: its worker may have slept and just woken.
///
/// # Errors
/// A fault of Postgres.
pub async fn find_orphans(
    executor: impl PgExecutor<'_>,
    dead_after_seconds: f64,
    limit: i64,
) -> Result<Vec<StuckRun>, sqlx::Error> {
    sqlx::query_as!(
        StuckRun,
        r#"
        WITH RECURSIVE holders AS (
            -- One step of the index a worker, however many runs it holds.
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

/// Finds running runs that are past their deadline by `grace_seconds`, whoever holds them.
///
/// # Errors
/// A fault of Postgres.
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

/// Queues runs again whose worker died, each under the lease that was seen. Returns those that were.
///
/// # Errors
/// A fault of Postgres.
pub async fn requeue(
    executor: impl PgExecutor<'_>,
    run_ids: &[Uuid],
    tokens: &[Uuid],
) -> Result<Vec<QueuedRun>, sqlx::Error> {
    sqlx::query_as!(
        QueuedRun,
        r#"
        WITH lost AS MATERIALIZED (
            SELECT r.id FROM runs r JOIN unnest($1::uuid[], $2::uuid[]) AS i (run_id, token) ON r.id = i.run_id
            WHERE r.lease_token = i.token
            ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
        )
        UPDATE runs r SET status = 'queued', lease_token = NULL, worker_id = NULL, epoch = r.epoch + 1,
            rescues = r.rescues + 1, last_error = 'the worker died', available_at = now(),
            ring_at = now() + interval '5 seconds'
        FROM lost l WHERE r.id = l.id
        RETURNING r.id AS run_id, r.user_id, r.conversation_id, r.attempt, r.epoch
        "#,
        run_ids,
        tokens
    )
    .fetch_all(executor)
    .await
}

/// Finds runs whose bell is due again and that could be claimed, and sets the next time: after 5 s, then at doubling
/// distances up to a minute, so that a hundred thousand waiting runs are not rung every second.
///
/// # Errors
/// A fault of Postgres.
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
        ), rung AS (
            UPDATE runs r SET ring_at = now() + LEAST(GREATEST(interval '5 seconds', now() - r.queued_at), interval '1 minute')
            FROM due d WHERE r.id = d.id
            RETURNING r.id, r.user_id, r.conversation_id, r.seq
        )
        SELECT r.user_id, r.id AS run_id FROM rung r
        WHERE NOT EXISTS (SELECT FROM runs e
            WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
              AND e.status IN ('queued', 'running', 'waiting_approval'))
        "#,
        limit
    )
    .fetch_all(executor)
    .await
}
