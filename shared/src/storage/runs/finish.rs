//! The finish of a run: its final state, its reply and its tool results as messages, stored together or not at all.

mod single_row;

use std::borrow::Borrow;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    domain::{chat::Usage, run::RunStatus},
    storage::{journal::steps::StepRecord, status_column},
};

/// How to finish a run. If its user requested a cancellation before, it is finished as cancelled regardless of `ending`.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The run.
    pub run_id: Uuid,
    /// The lease of a running run. None for a run that is queued or awaits approval: it is finished only if its epoch is
    /// still lower than that of the final event, that is, if it has not been claimed in the meantime.
    pub token: Option<Uuid>,
    /// The number of the final event. Its epoch becomes the run's epoch.
    pub final_event_seq: i64,
    /// The result.
    pub ending: Ending,
    /// The last model call. None if the journal has it already, or if the model was not called.
    pub last_step: Option<StepRecord>,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The run has a reply.
    Succeeded {
        /// The id of the assistant's message.
        message_id: Uuid,
        /// The reply.
        content: String,
        /// All tool calls of the run as users see them.
        tool_calls: serde_json::Value,
    },
    /// The run has no reply.
    Failed {
        /// For the user: the text after "Agent execution failed: ".
        reason: String,
        /// For an operator.
        error: String,
    },
    /// The user cancelled the run.
    Cancelled,
}

impl Ending {
    /// The status of the run after this result, unless its user requested a cancellation before.
    pub const fn status(&self) -> RunStatus {
        match self {
            Self::Succeeded { .. } => RunStatus::Succeeded,
            Self::Failed { .. } => RunStatus::Failed,
            Self::Cancelled => RunStatus::Cancelled,
        }
    }
}

/// A finished run. Valid once the statement's commit has returned.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The run.
    pub run_id: Uuid,
    /// Its final status.
    pub status: RunStatus,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// The user who owns it.
    pub user_id: Uuid,
    /// The sum over its steps.
    pub usage: Usage,
    /// How many times it was claimed.
    pub attempt: i32,
    /// The number of its final event.
    pub final_event_seq: i64,
    /// When it finished.
    pub finished_at: DateTime<Utc>,
    /// The conversation's next queued run, as far as the statement could see: notify a worker about it.
    pub next: Option<Uuid>,
    /// Whether a message was added while the statement waited for the conversation's lock. Then `next` may be outdated: call
    /// [`next_queued`].
    pub recheck_queue: bool,
}

/// Finishes runs: a single run that succeeded with a statement of few plan nodes, everything else with [`finish_batch`].
///
/// # Errors
/// As for [`finish_batch`].
pub async fn finish(
    executor: impl PgExecutor<'_> + Copy,
    finishes: &[impl Borrow<Finish> + Sync],
) -> Result<Vec<Finished>, sqlx::Error> {
    if let [one] = finishes
        && let Some(finished) = single_row::finish(executor, one.borrow()).await?
    {
        return Ok(vec![finished]);
    }
    finish_batch(executor, finishes).await
}

/// Finishes runs with one statement and one commit.
///
/// A run is left out and unchanged if its lease is lost. The same applies if the step before its last step is missing from
/// the journal: step commits are not flushed, so a crash of Postgres can lose a step that the worker saw committed, while
/// the older lease survives.
///
/// Locks the conversations in the order of their ids, then the runs. A run has one slot per message, so it cannot get a second
/// reply.
///
/// # Errors
/// A database error. Then nothing is stored; if the connection broke, the outcome is unknown.
pub async fn finish_batch(
    executor: impl PgExecutor<'_>,
    finishes: &[impl Borrow<Finish> + Sync],
) -> Result<Vec<Finished>, sqlx::Error> {
    let columns = Columns::of(finishes);
    let rows = sqlx::query_file!(
        "src/storage/runs/finish/finish_batch.sql",
        &columns.run_ids,
        &columns.tokens as &[Option<Uuid>],
        &columns.statuses as &[&str],
        &columns.final_seqs,
        &columns.message_ids as &[Option<Uuid>],
        &columns.contents as &[Option<&str>],
        &columns.tool_calls as &[Option<&serde_json::Value>],
        &columns.reasons as &[Option<&str>],
        &columns.errors as &[Option<&str>],
        &columns.steps as &[Option<i16>],
        &columns.attempts as &[Option<i32>],
        &columns.models as &[Option<&str>],
        &columns.prompt_tokens as &[Option<i64>],
        &columns.completion_tokens as &[Option<i64>],
        &columns.model_ms as &[Option<i32>],
        &columns.usage_estimated as &[Option<bool>],
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Finished {
                run_id: row.id,
                status: status_column(&row.status)?,
                conversation_id: row.conversation_id,
                user_id: row.user_id,
                usage: Usage::new(row.prompt_tokens, row.completion_tokens).estimated(row.usage_estimated),
                attempt: row.attempt,
                final_event_seq: row.final_event_seq,
                finished_at: row.finished_at,
                next: row.next,
                recheck_queue: row.recheck_queue,
            })
        })
        .collect()
}

/// The parameters of the statement, one array per column.
#[derive(Default)]
struct Columns<'a> {
    run_ids: Vec<Uuid>,
    tokens: Vec<Option<Uuid>>,
    statuses: Vec<&'static str>,
    final_seqs: Vec<i64>,
    message_ids: Vec<Option<Uuid>>,
    contents: Vec<Option<&'a str>>,
    tool_calls: Vec<Option<&'a serde_json::Value>>,
    reasons: Vec<Option<&'a str>>,
    errors: Vec<Option<&'a str>>,
    steps: Vec<Option<i16>>,
    attempts: Vec<Option<i32>>,
    models: Vec<Option<&'a str>>,
    prompt_tokens: Vec<Option<i64>>,
    completion_tokens: Vec<Option<i64>>,
    model_ms: Vec<Option<i32>>,
    usage_estimated: Vec<Option<bool>>,
}

impl<'a> Columns<'a> {
    fn of(finishes: &'a [impl Borrow<Finish>]) -> Self {
        let mut columns = Self::default();
        for finish in finishes {
            columns.push(finish.borrow());
        }
        columns
    }

    fn push(&mut self, finish: &'a Finish) {
        self.run_ids.push(finish.run_id);
        self.tokens.push(finish.token);
        self.final_seqs.push(finish.final_event_seq);
        let (status, message_id, content, tool_calls, reason, error) = match &finish.ending {
            Ending::Succeeded {
                message_id,
                content,
                tool_calls,
            } => (
                RunStatus::Succeeded,
                Some(*message_id),
                Some(content.as_str()),
                Some(tool_calls),
                None,
                None,
            ),
            Ending::Failed { reason, error } => (
                RunStatus::Failed,
                None,
                None,
                None,
                Some(reason.as_str()),
                Some(error.as_str()),
            ),
            Ending::Cancelled => (RunStatus::Cancelled, None, None, None, None, None),
        };
        self.statuses.push(status.as_str());
        self.message_ids.push(message_id);
        self.contents.push(content);
        self.tool_calls.push(tool_calls);
        self.reasons.push(reason);
        self.errors.push(error);
        let step = finish.last_step.as_ref();
        self.steps.push(step.map(|step| step.step));
        self.attempts.push(step.map(|step| step.attempt));
        self.models.push(step.map(|step| step.model.as_str()));
        self.prompt_tokens.push(step.map(|step| step.usage.prompt_tokens));
        self.completion_tokens
            .push(step.map(|step| step.usage.completion_tokens));
        self.model_ms.push(step.map(|step| step.model_ms));
        self.usage_estimated
            .push(step.map(|step| step.usage.is_estimated));
    }
}

/// Returns the first queued run of a conversation. See [`Finished::recheck_queue`].
///
/// # Errors
/// A database error.
pub async fn next_queued(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    conversation_id: Uuid,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT id FROM runs WHERE user_id = $1 AND conversation_id = $2 AND status = 'queued' ORDER BY seq LIMIT 1",
        user_id,
        conversation_id
    )
    .fetch_optional(executor)
    .await
}

/// Whether the run finished with this final event. After a lost connection, this distinguishes a finish that was committed
/// from one by another process.
///
/// # Errors
/// A database error.
pub async fn has_ended_with(
    executor: impl PgExecutor<'_>,
    run_id: Uuid,
    final_event_seq: i64,
) -> Result<bool, sqlx::Error> {
    let ended = sqlx::query_scalar!(
        r#"SELECT true AS "ended!" FROM runs WHERE id = $1 AND final_event_seq = $2"#,
        run_id,
        final_event_seq
    )
    .fetch_optional(executor)
    .await?;
    Ok(ended.is_some())
}

/// Takes the locks of a finish, in the same order. A finish of runs that another process may still execute, as the next
/// statement of the transaction, then sees the steps that were committed while it waited for the locks.
///
/// # Errors
/// A database error.
pub async fn lock(connection: &mut PgConnection, run_ids: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        SELECT c.id FROM conversations c WHERE c.id IN (SELECT r.conversation_id FROM runs r WHERE r.id = ANY($1))
        ORDER BY c.id FOR NO KEY UPDATE
        "#,
        run_ids
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query_scalar!(
        "SELECT id FROM runs WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        run_ids
    )
    .fetch_all(&mut *connection)
    .await
    .map(drop)
}
