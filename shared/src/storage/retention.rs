//! Retention: deletes journals of finished runs, idempotency keys and refresh tokens once they are old enough.
//!
//! Each statement deletes a limited batch, oldest first, and skips rows that another transaction has locked, so any number of
//! workers may do this at any time. A locked row does not move, so its `ctid` identifies it. Run ids grow with time, so
//! no table needs an index by age.

use sqlx::PgExecutor;
use uuid::Uuid;

/// The outcome of a batch of journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedJournals {
    /// Number of runs whose journal was deleted.
    pub runs: i64,
    /// The last run that was examined: continue after it. None if there was no run.
    pub last: Option<Uuid>,
}

/// Deletes the steps and tool calls of runs that succeeded more than `days` ago, and marks those runs. Examines `limit` journals
/// of runs with ids between `after` and `before`.
///
/// Everything that users see is kept: the reply has the tool calls, the messages have their results, and the run has the
/// token counts. Failed and cancelled runs keep their journal: they have no reply, and a retry continues from the journal.
///
/// # Errors
/// A database error.
pub async fn drop_journals(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    before: Uuid,
    days: i32,
    limit: i64,
) -> Result<DroppedJournals, sqlx::Error> {
    sqlx::query_as!(
        DroppedJournals,
        r#"
        WITH candidates AS MATERIALIZED (
            -- Every journal has a step 0.
            SELECT run_id FROM steps WHERE step = 0 AND run_id > $1 AND run_id < $2 ORDER BY run_id LIMIT $4
        ), due AS MATERIALIZED (
            -- Locks the runs that are old enough.
            SELECT r.id FROM candidates s JOIN runs r ON r.id = s.run_id
            WHERE r.status = 'succeeded' AND r.finished_at < now() - make_interval(days => $3)
            ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
        ), marked AS (
            UPDATE runs r SET journal_dropped_at = now() FROM due d WHERE r.id = d.id
        ), dropped AS (
            -- Cascades to their tool calls.
            DELETE FROM steps s USING due d WHERE s.run_id = d.id
        )
        SELECT (SELECT count(*) FROM due) AS "runs!", (SELECT run_id FROM candidates ORDER BY run_id DESC LIMIT 1) AS last
        "#,
        after,
        before,
        days,
        limit
    )
    .fetch_one(executor)
    .await
}

/// Deletes idempotency keys that are more than `hours` old, of runs with ids below `before`. Returns how many.
///
/// # Errors
/// A database error.
pub async fn delete_keys(
    executor: impl PgExecutor<'_>,
    before: Uuid,
    hours: i32,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        r#"
        DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM idempotency_keys
            WHERE run_id < $1 AND created_at < now() - make_interval(hours => $2)
            ORDER BY run_id LIMIT $3 FOR UPDATE SKIP LOCKED))
        "#,
        before,
        hours,
        limit
    )
    .execute(executor)
    .await
    .map(|done| done.rows_affected())
}

/// Like [`delete_keys`], for keys whose run was deleted with its conversation.
///
/// # Errors
/// A database error.
pub async fn delete_keys_without_run(
    executor: impl PgExecutor<'_>,
    hours: i32,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        r#"
        DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM idempotency_keys
            WHERE run_id IS NULL AND created_at < now() - make_interval(hours => $1)
            LIMIT $2 FOR UPDATE SKIP LOCKED))
        "#,
        hours,
        limit
    )
    .execute(executor)
    .await
    .map(|done| done.rows_affected())
}

/// Deletes expired refresh tokens. Returns how many.
///
/// # Errors
/// A database error.
pub async fn delete_expired_tokens(executor: impl PgExecutor<'_>, limit: i64) -> Result<u64, sqlx::Error> {
    sqlx::query!(
        r#"
        DELETE FROM refresh_tokens t USING (
            SELECT token_hash FROM refresh_tokens WHERE expires_at < now()
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ) old
        WHERE t.token_hash = old.token_hash
        "#,
        limit
    )
    .execute(executor)
    .await
    .map(|done| done.rows_affected())
}
