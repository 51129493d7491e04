//! What users say to calls that wait for their consent.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::storage::runs::QueuedRun;
use crate::{domain::run::RunStatus, storage::status_column};

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecisionOutcome {
    /// It is stored, and others of the step still wait.
    Stored,
    /// It is stored, and it was the last: the run is queued again.
    Queued(QueuedRun),
    /// It was made before, just so.
    Already,
    /// The other one was made before.
    Otherwise,
    /// Nobody waits for it any more: its time is over, or the run has ended.
    TooLate,
    /// No such call of this run waits, or has waited, for consent.
    NoCall,
    /// Not there, or not this user's.
    NoRun,
}

/// Locks a run of this user for a decision, so that [`decide`], as the transaction's next statement, sees those that were
/// made while it waited. None if it is not there or not this user's.
///
/// # Errors
/// A fault of Postgres.
pub async fn lock(
    connection: &mut PgConnection,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<Option<RunStatus>, sqlx::Error> {
    let status = sqlx::query_scalar!(
        "SELECT status FROM runs WHERE id = $2 AND user_id = $1 FOR NO KEY UPDATE",
        user_id,
        run_id
    )
    .fetch_optional(connection)
    .await?;
    status.as_deref().map(status_column).transpose()
}

/// Stores a decision about a call of a run that [`lock`] has locked; with the last one that its step waits for, the run is
/// queued again. A decision is made once, and only while the run waits for it.
///
/// # Errors
/// A fault of Postgres.
pub async fn decide(
    connection: &mut PgConnection,
    run_id: Uuid,
    tool_call_id: &str,
    approve: bool,
) -> Result<DecisionOutcome, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        WITH call AS MATERIALIZED (
            SELECT a.step, a.call_index, a.approved FROM asked_calls a
            WHERE a.run_id = $1 AND a.tool_call_id = $2 AND a.expires_at IS NOT NULL
        ), decided AS (
            UPDATE asked_calls a SET approved = $3, decided_at = now()
            FROM call c, runs r
            WHERE a.run_id = $1 AND a.step = c.step AND a.call_index = c.call_index AND a.approved IS NULL
              AND a.expires_at > now() AND r.id = $1 AND r.status = 'waiting_approval'
              AND a.step = (SELECT s.step FROM steps s WHERE s.run_id = $1 ORDER BY s.step DESC LIMIT 1)
            RETURNING a.step, a.call_index
        ), queued AS (
            UPDATE runs r SET status = 'queued', epoch = r.epoch + 1, available_at = now(),
                ring_at = now() + interval '5 seconds'
            FROM decided d
            WHERE r.id = $1 AND (SELECT true FROM asked_calls o WHERE o.run_id = $1 AND o.step = d.step
                AND o.call_index <> d.call_index AND o.expires_at IS NOT NULL AND o.approved IS NULL LIMIT 1) IS NULL
            RETURNING r.user_id, r.conversation_id, r.attempt, r.epoch
        )
        SELECT c.approved, (SELECT true FROM decided) AS decided, q.user_id AS "user_id?",
            q.conversation_id AS "conversation_id?", q.attempt AS "attempt?", q.epoch AS "epoch?"
        FROM call c LEFT JOIN queued q ON true
        "#,
        run_id,
        tool_call_id,
        approve
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(DecisionOutcome::NoCall);
    };
    Ok(
        match (
            row.approved,
            row.user_id,
            row.conversation_id,
            row.attempt,
            row.epoch,
        ) {
            (_, Some(user_id), Some(conversation_id), Some(attempt), Some(epoch)) => {
                DecisionOutcome::Queued(QueuedRun {
                    run_id,
                    user_id,
                    conversation_id,
                    attempt,
                    epoch,
                })
            }
            (Some(before), ..) if before == approve => DecisionOutcome::Already,
            (Some(_), ..) => DecisionOutcome::Otherwise,
            (None, ..) if row.decided == Some(true) => DecisionOutcome::Stored,
            (None, ..) => DecisionOutcome::TooLate,
        },
    )
}

/// Queues runs again for whose consent the time is over, and those that their users want cancelled without anybody having
/// done it: a worker sees what there is to be done. Returns those that were.
///
/// # Errors
/// A fault of Postgres.
pub async fn expire(executor: impl PgExecutor<'_>, limit: i64) -> Result<Vec<QueuedRun>, sqlx::Error> {
    sqlx::query_as!(
        QueuedRun,
        r#"
        WITH due AS MATERIALIZED (
            SELECT r.id FROM runs r WHERE r.status = 'waiting_approval' AND r.parked_until <= now()
            ORDER BY r.parked_until LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE runs r SET status = 'queued', epoch = r.epoch + 1, available_at = now(),
            ring_at = now() + interval '5 seconds'
        FROM due d WHERE r.id = d.id
        RETURNING r.id AS run_id, r.user_id, r.conversation_id, r.attempt, r.epoch
        "#,
        limit
    )
    .fetch_all(executor)
    .await
}
