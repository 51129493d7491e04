//! Runs as their users see them, and their life outside the queue: finish, cancel, retry.
//!
//! # Conditions that statements repeat
//!
//! `query!` takes its SQL as one literal, and a function or view would hide the condition from the planner, which must see
//! it to use a partial index. So these conditions are written out. A comment in the SQL marks each of them by name:
//!
//! | marker | condition | meaning |
//! |---|---|---|
//! | `open run` | `status IN ('queued', 'running', 'waiting_approval')` | Has not finished. The predicate of the index `runs_open`. |
//! | `first open run` | `NOT EXISTS (…)` an open run of the same user and conversation with a lower `seq` | The run may be claimed: runs of a conversation execute one at a time, in the order of their messages. |
//! | `renotify` | `now() + interval '5 seconds'` | When the rescuer repeats the notification of a queued run ([`take_due_notifications`]). The program that queues the run sends the first one itself. |
//! | `epoch of the event` | `seq >> 20` | Event numbers consist of the run's epoch and a counter of 20 bits ([`crate::domain::events`]). |
//! | `reply slot` | `slot = 32767` | Slots order the messages of a run: 0 is the user's message, 1 and up are tool results, the largest `smallint` is the reply. |
//!
//! [`take_due_notifications`]: super::queue::rescue::take_due_notifications

mod cancel;
pub mod finish;
mod retry;
mod view;

use sqlx::PgExecutor;
use uuid::Uuid;

pub use self::{
    cancel::{CancelTarget, request_cancel, request_cancel_all},
    retry::{RetryOutcome, retry},
    view::{RunView, response, view, views},
};

/// A run that has been queued again, in a new epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRun {
    /// The run.
    pub run_id: Uuid,
    /// The user who owns it.
    pub user_id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// How many times it has been claimed.
    pub attempt: i32,
    /// Its epoch: the high part of its next event numbers.
    pub epoch: i32,
}

/// Returns those of the given runs that do not exist.
///
/// # Errors
/// A database error.
pub async fn missing(executor: impl PgExecutor<'_>, run_ids: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT i.id AS "id!" FROM unnest($1::uuid[]) AS i (id) WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = i.id)"#,
        run_ids
    )
    .fetch_all(executor)
    .await
}

/// Counts the queued runs, up to `limit`.
///
/// # Errors
/// A database error.
pub async fn count_queued(executor: impl PgExecutor<'_>, limit: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (SELECT FROM runs WHERE status = 'queued' LIMIT $1) queued"#,
        limit
    )
    .fetch_one(executor)
    .await
}
