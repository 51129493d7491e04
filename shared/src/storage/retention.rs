//! What goes when its time is over: journals of finished runs, idempotency keys, refresh tokens.
//!
//! Each statement takes a bounded batch, the oldest first, and passes over what somebody else has locked, so that any
//! number of workers may do this at any time. A row that is locked stays where it is, so its `ctid` finds it again. Ids
//! of runs grow with time, so that no table needs an index by age for it.

use sqlx::PgExecutor;
use uuid::Uuid;

/// What a batch of journals came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedJournals {
    /// Runs whose journal was dropped.
    pub runs: i64,
    /// The last run that was looked at, from which to go on; none if there was none.
    pub last: Option<Uuid>,
}

/// Drops the steps and tool calls of runs that succeeded more than `days` ago, and marks those runs. Looks at `limit`
/// journals of runs after `after` and before `before`, by their ids.
///
/// Of such a run the reply has the tool calls, the messages their results, and the row the tokens. Failed and cancelled
/// runs keep their journal: they may be tried again and go on from it, and have no reply.
///
/// # Errors
/// A fault of Postgres.
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
        WITH seen AS MATERIALIZED (
            SELECT run_id FROM steps WHERE step = 0 AND run_id > $1 AND run_id < $2 ORDER BY run_id LIMIT $4
        ), due AS MATERIALIZED (
            SELECT r.id FROM seen s JOIN runs r ON r.id = s.run_id
            WHERE r.status = 'succeeded' AND r.finished_at < now() - make_interval(days => $3)
            ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
        ), marked AS (
            UPDATE runs r SET journal_dropped_at = now() FROM due d WHERE r.id = d.id
        ), dropped AS (
            -- Their tool calls go with them.
            DELETE FROM steps s USING due d WHERE s.run_id = d.id
        )
        SELECT (SELECT count(*) FROM due) AS "runs!", (SELECT run_id FROM seen ORDER BY run_id DESC LIMIT 1) AS last
        "#,
        after,
        before,
        days,
        limit
    )
    .fetch_one(executor)
    .await
}

/// Forgets keys that are more than `hours` old, of runs before `before` by their ids. Returns how many.
///
/// # Errors
/// A fault of Postgres.
pub async fn forget_keys(
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

/// The same for keys whose run is gone with its conversation.
///
/// # Errors
/// A fault of Postgres.
pub async fn forget_keys_without_runs(
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

/// Forgets refresh tokens that have expired, which are bad whether known or not. Returns how many.
///
/// # Errors
/// A fault of Postgres.
pub async fn forget_tokens(executor: impl PgExecutor<'_>, limit: i64) -> Result<u64, sqlx::Error> {
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
