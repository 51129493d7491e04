//! Claims: a worker takes a ready run and gets everything it needs to execute it, so that no read follows the claim.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use super::posts::Origin;
use crate::{
    signals::wire::ReadyNotice,
    storage::{
        journal::{pending_calls::PendingCall, steps::RecordedCall},
        runs::QueuedRun,
    },
};

/// A claimed run: the lease, and everything that the worker must know.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The run.
    pub run_id: Uuid,
    /// The token that fences every later write: only its holder can change the run.
    pub token: Uuid,
    /// The run's conversation.
    pub conversation_id: Uuid,
    /// The user who owns the run.
    pub user_id: Uuid,
    /// The user's name.
    pub user_name: String,
    /// The agent of the conversation. None means the default agent.
    pub agent: Option<String>,
    /// How many times the run has been claimed, this claim included.
    pub attempt: i32,
    /// How many attempts ended with an error of the run itself.
    pub failures: i32,
    /// The high part of this lease's event numbers.
    pub epoch: i32,
    /// The database's time at the claim.
    pub now: DateTime<Utc>,
    /// When the run was queued: posted, or retried by its user.
    pub queued_at: DateTime<Utc>,
    /// Since when the run could be claimed: queued, due, and the previous run of its conversation finished.
    pub ready_at: DateTime<Utc>,
    /// When the run must have finished.
    pub deadline_at: DateTime<Utc>,
    /// Whether the user requested a cancellation.
    pub cancel_requested: bool,
    /// The request that brought the message.
    pub origin: Origin,
    /// The user's message.
    pub message: String,
    /// Earlier turns of the conversation, oldest first.
    pub history: Vec<PastTurn>,
    /// The steps that earlier attempts committed.
    pub journal: Vec<PastStep>,
}

impl Lease {
    /// How long the run was ready before it was claimed.
    pub fn waited(&self) -> Duration {
        (self.now - self.ready_at).to_std().unwrap_or_default()
    }

    /// How long before the claim the run was queued.
    pub fn age(&self) -> Duration {
        (self.now - self.queued_at).to_std().unwrap_or_default()
    }
}

/// An earlier run of the conversation with its messages. Deserialized from an array: keep the order of the fields as in
/// `claim.sql`.
#[derive(Clone, Debug, Deserialize)]
pub struct PastTurn {
    /// Its status, which is final: earlier runs have finished before a run is claimed.
    pub status: String,
    /// Its messages in the order of their slots.
    pub messages: Vec<PastMessage>,
}

/// A stored message. Deserialized from an array: keep the order of the fields as in `claim.sql`.
#[derive(Clone, Debug, Deserialize)]
pub struct PastMessage {
    /// `user`, `assistant` or `tool`.
    pub role: String,
    /// The text. For a tool: its result as JSON.
    pub content: String,
    /// For a tool: the model's id of the call.
    pub tool_call_id: Option<String>,
    /// For a tool: its name.
    pub name: Option<String>,
    /// For a tool: its `step` and `arguments`, and for the first call of a step its `provider_data`, if there is any.
    pub metadata: serde_json::Value,
}

/// A committed step of this run.
#[derive(Clone, Debug, Deserialize)]
pub struct PastStep {
    /// Its number, from 0.
    pub step: i16,
    /// The text that the model returned with its tool calls.
    pub content: String,
    /// The model that answered.
    pub model: String,
    /// What the provider may require back with the tool calls.
    pub provider_data: Option<serde_json::Value>,
    /// Tokens sent.
    pub prompt_tokens: i64,
    /// Tokens received.
    pub completion_tokens: i64,
    /// The calls that have results, in the order of their indexes.
    pub calls: Vec<RecordedCall>,
    /// The calls of a deferred step that have no result yet, in the order of their indexes.
    pub pending: Vec<PendingCall>,
}

/// Limits of the history that a claim returns, and of the run's duration.
#[derive(Clone, Copy, Debug)]
pub struct ClaimBounds {
    /// Maximum number of earlier turns.
    pub history_turns: i64,
    /// Maximum size of the earlier messages in bytes. The newest turns are kept.
    pub history_bytes: i64,
    /// Seconds from the first claim to the deadline.
    pub deadline_seconds: f64,
}

/// Claims those of the given runs that are ready (queued, due, and the first open run of their conversation) with one
/// statement and one commit. Skips runs that another worker has claimed or is claiming.
///
/// # Errors
/// A database error. A violation of `runs_one_at_a_time` fails the whole batch: then claim the runs one by one.
pub async fn claim(
    executor: impl PgExecutor<'_>,
    worker_id: Uuid,
    run_ids: &[Uuid],
    bounds: ClaimBounds,
) -> Result<Vec<Lease>, sqlx::Error> {
    let rows = sqlx::query_file!(
        "src/storage/queue/claim.sql",
        run_ids,
        worker_id,
        bounds.deadline_seconds,
        bounds.history_turns,
        bounds.history_bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Lease {
            run_id: row.id,
            token: row.token,
            conversation_id: row.conversation_id,
            user_id: row.user_id,
            user_name: row.user_name,
            agent: row.agent,
            attempt: row.attempt,
            failures: row.failures,
            epoch: row.epoch,
            now: row.now,
            queued_at: row.queued_at,
            ready_at: row.ready_at,
            deadline_at: row.deadline_at,
            cancel_requested: row.cancel_requested,
            origin: Origin {
                request_id: row.request_id,
                traceparent: row.traceparent,
            },
            message: row.message,
            history: row.history.0,
            journal: row.journal.0,
        })
        .collect())
}

/// Maximum number of users that one call of [`find_ready`] considers.
const USERS_PER_SEARCH: i64 = 1000;

/// Finds ready runs, for workers that receive no notifications. Fair between users: every user's first run comes before any
/// user's second, and users with fewer running runs come first.
///
/// The search starts with the user after `after` and does not wrap around. When it returns fewer than `limit` runs, start the
/// next one with [`Uuid::nil`].
///
/// # Errors
/// A database error.
pub async fn find_ready(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<ReadyNotice>, sqlx::Error> {
    sqlx::query_file_as!(
        ReadyNotice,
        "src/storage/queue/find_ready.sql",
        after,
        limit,
        USERS_PER_SEARCH
    )
    .fetch_all(executor)
    .await
}

/// Releases a run: it is queued again. None if the lease is lost.
///
/// With `failed`, the attempt counts as an error of the run. The run can be claimed again after `delay_seconds`.
///
/// # Errors
/// A database error.
pub async fn release(
    executor: impl PgExecutor<'_>,
    run_id: Uuid,
    token: Uuid,
    failed: Option<&str>,
    delay_seconds: f64,
) -> Result<Option<QueuedRun>, sqlx::Error> {
    sqlx::query_as!(
        QueuedRun,
        r#"
        UPDATE runs SET status = 'queued', lease_token = NULL, worker_id = NULL, epoch = epoch + 1,
            failures = failures + CASE WHEN $3::text IS NULL THEN 0 ELSE 1 END, last_error = COALESCE($3, last_error),
            available_at = now() + make_interval(secs => $4), ring_at = now() + make_interval(secs => $4)
        WHERE id = $1 AND lease_token = $2
        RETURNING id AS run_id, user_id, conversation_id, attempt, epoch
        "#,
        run_id,
        token,
        failed,
        delay_seconds
    )
    .fetch_optional(executor)
    .await
}

/// Whether a lease is still valid.
///
/// # Errors
/// A database error.
pub async fn is_held(executor: impl PgExecutor<'_>, run_id: Uuid, token: Uuid) -> Result<bool, sqlx::Error> {
    let held = sqlx::query_scalar!(
        r#"SELECT true AS "held!" FROM runs WHERE id = $1 AND lease_token = $2"#,
        run_id,
        token
    )
    .fetch_optional(executor)
    .await?;
    Ok(held.is_some())
}

/// Returns ready runs with ids after `after`, in the order of their ids.
///
/// # Errors
/// A database error.
pub async fn ready_page(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<ReadyNotice>, sqlx::Error> {
    sqlx::query_as!(
        ReadyNotice,
        r#"
        SELECT r.user_id, r.id AS run_id FROM runs r
        WHERE r.id > $1 AND r.status = 'queued' AND r.available_at <= now()
          AND NOT EXISTS (SELECT FROM runs e -- first open run
            WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
              AND e.status IN ('queued', 'running', 'waiting_approval'))
        ORDER BY r.id LIMIT $2
        "#,
        after,
        limit
    )
    .fetch_all(executor)
    .await
}
