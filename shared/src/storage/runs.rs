//! Runs as their users see them, and what users do to them: cancel, retry.

pub mod finish;

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use crate::domain::{
    chat::{Approval, ChatResponse, RunProblem, ToolCallRecord, Usage},
    events::{Event, EventData, RunEnd, requested_seq},
    run::RunStatus,
    timing::RunTiming,
};
use crate::storage::journal::steps::with_user_id;
use crate::storage::status_column;

/// A tool call as the journal has it.
#[derive(Debug, serde::Deserialize)]
struct JournalCall {
    tool_call_id: String,
    tool_name: String,
    arguments: serde_json::Value,
    result: serde_json::Value,
    success: bool,
}

/// A tool call that waits for approval, as the journal has it.
#[derive(Debug, serde::Deserialize)]
struct WaitingCall {
    call_index: i16,
    tool_call_id: String,
    tool_name: String,
    arguments: serde_json::Value,
    expires_at: DateTime<Utc>,
}

/// A run as far as it has come.
#[derive(Clone, Debug)]
pub struct RunView {
    /// Whose it is.
    pub user_id: Uuid,
    /// How often it was claimed.
    pub attempt: i32,
    /// The high part of its event numbers.
    pub epoch: i32,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// Of a final run: number of the final event, and when it ended.
    pub ended: Option<(i64, DateTime<Utc>)>,
    /// Of each tool call, whether it did what it was asked for.
    pub successes: Vec<bool>,
    /// Of each call that waits for approval, its place in its step.
    pub waiting: Vec<i16>,
    /// The answer.
    pub response: ChatResponse,
    /// Where its time went so far, to a millisecond.
    pub timing: RunTiming,
}

impl RunView {
    /// The events by which its user is asked about the calls that wait for approval, as its worker tells them.
    pub fn requests(&self, at: DateTime<Utc>) -> impl Iterator<Item = Event<'_>> {
        let calls = self.waiting.iter().zip(&self.response.approvals);
        calls.map(move |(index, call)| Event {
            seq: requested_seq(self.epoch, *index),
            run_id: self.response.run_id,
            conversation_id: self.response.conversation_id,
            attempt: self.attempt,
            at,
            data: EventData::ApprovalRequested {
                tool_call_id: Cow::Borrowed(&call.tool_call_id),
                tool_name: Cow::Borrowed(&call.tool_name),
                arguments: Cow::Borrowed(&call.arguments),
                expires_at: call.expires_at,
            },
        })
    }

    /// The run's end, if it is final.
    pub fn into_end(self) -> Option<RunEnd> {
        let (seq, at) = self.ended.filter(|_| self.response.status.is_final())?;
        Some(RunEnd {
            user_id: self.user_id,
            seq,
            attempt: self.attempt,
            at,
            response: self.response,
            timing: Some(self.timing),
        })
    }
}

/// Runs as far as they have come, in no order; runs that are not there are left out. With `only_halted`, those that go on by
/// themselves are left out too: what is left has ended or waits for its user. One query whatever their number.
///
/// # Errors
/// A fault of Postgres.
pub async fn views(
    executor: impl PgExecutor<'_>,
    run_ids: &[Uuid],
    only_halted: bool,
) -> Result<Vec<RunView>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT r.id, r.user_id, r.conversation_id, r.status, r.failure_reason, m.content AS "content?", r.attempt,
            r.epoch, r.created_at, r.finished_at, r.final_event_seq,
            (SELECT COALESCE(sum(s.prompt_tokens), CASE WHEN r.journal_dropped_at IS NULL THEN 0 ELSE r.prompt_tokens END)::int8
                FROM steps s WHERE s.run_id = r.id) AS "prompt!",
            (SELECT COALESCE(sum(s.completion_tokens), CASE WHEN r.journal_dropped_at IS NULL THEN 0 ELSE r.completion_tokens END)::int8
                FROM steps s WHERE s.run_id = r.id) AS "completion!",
            (SELECT COALESCE(sum(s.model_ms), 0)::int8 FROM steps s WHERE s.run_id = r.id) AS "model_ms!",
            (SELECT COALESCE(sum(s.tools_ms), 0)::int8 FROM steps s WHERE s.run_id = r.id) AS "tools_ms!",
            (extract(epoch FROM COALESCE(r.first_claimed_at, now()) - r.queued_at) * 1000)::int8 AS "queue_ms!",
            COALESCE(CASE WHEN r.journal_dropped_at IS NULL THEN
                (SELECT jsonb_agg(jsonb_build_object('tool_call_id', k.tool_call_id, 'tool_name', k.tool_name,
                    'arguments', k.arguments, 'result', k.result, 'success', k.success) ORDER BY k.step, k.call_index)
                FROM tool_calls k WHERE k.run_id = r.id)
            ELSE
                (SELECT jsonb_agg(c.value || jsonb_build_object('success', c.value #> '{result,success}') ORDER BY c.nth)
                FROM jsonb_array_elements(m.tool_calls) WITH ORDINALITY AS c (value, nth))
            END, '[]') AS "calls!: Json<Vec<JournalCall>>",
            COALESCE(CASE WHEN r.status = 'waiting_approval' THEN
                (SELECT jsonb_agg(jsonb_build_object('call_index', a.call_index, 'tool_call_id', a.tool_call_id,
                    'tool_name', a.tool_name, 'arguments', a.arguments, 'expires_at', a.expires_at) ORDER BY a.call_index)
                FROM asked_calls a WHERE a.run_id = r.id AND a.expires_at IS NOT NULL AND a.approved IS NULL
                    AND a.step = (SELECT s.step FROM steps s WHERE s.run_id = r.id ORDER BY s.step DESC LIMIT 1))
            END, '[]') AS "waiting!: Json<Vec<WaitingCall>>"
        FROM runs r LEFT JOIN messages m ON m.run_id = r.id AND m.slot = 32767
        WHERE r.id = ANY($1) AND (NOT $2 OR r.status IN ('waiting_approval', 'succeeded', 'failed', 'cancelled'))
        "#,
        run_ids,
        only_halted
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|row| {
            let successes = row.calls.0.iter().map(|call| call.success).collect();
            let tool_calls = row
                .calls
                .0
                .into_iter()
                .map(|call| ToolCallRecord {
                    arguments: with_user_id(&call.arguments, row.user_id),
                    tool_call_id: call.tool_call_id,
                    tool_name: call.tool_name,
                    result: call.result,
                })
                .collect();
            let waiting = row.waiting.0.iter().map(|call| call.call_index).collect();
            let approvals = row
                .waiting
                .0
                .into_iter()
                .map(|call| Approval {
                    arguments: with_user_id(&call.arguments, row.user_id),
                    tool_call_id: call.tool_call_id,
                    tool_name: call.tool_name,
                    expires_at: call.expires_at,
                })
                .collect();
            let response = ChatResponse {
                conversation_id: row.conversation_id,
                message: row.content.unwrap_or_default(),
                tool_calls,
                usage: Usage::new(row.prompt, row.completion),
                run_id: row.id,
                status: status_column(&row.status)?,
                approvals,
                problem: row.failure_reason.as_deref().map(RunProblem::failed),
            };
            Ok(RunView {
                user_id: row.user_id,
                attempt: row.attempt,
                epoch: row.epoch,
                created_at: row.created_at,
                ended: row.final_event_seq.zip(row.finished_at),
                successes,
                waiting,
                response,
                timing: RunTiming::new(
                    millis(row.queue_ms),
                    millis(row.model_ms),
                    millis(row.tools_ms),
                    Duration::ZERO,
                ),
            })
        })
        .collect()
}

fn millis(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}

/// One run of a user.
///
/// # Errors
/// A fault of Postgres.
pub async fn view(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<Option<RunView>, sqlx::Error> {
    let found = views(executor, &[run_id], false).await?;
    Ok(found.into_iter().find(|run| run.user_id == user_id))
}

/// A run that has been queued again, in an epoch of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRun {
    /// The run.
    pub run_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// How often it was claimed.
    pub attempt: i32,
    /// Its epoch.
    pub epoch: i32,
}

/// The answer of one run of a user.
///
/// # Errors
/// A fault of Postgres.
pub async fn response(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<Option<ChatResponse>, sqlx::Error> {
    Ok(view(executor, user_id, run_id).await?.map(|run| run.response))
}

/// Of the runs given, those that are no longer there.
///
/// # Errors
/// A fault of Postgres.
pub async fn missing(executor: impl PgExecutor<'_>, run_ids: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT i.id AS "id!" FROM unnest($1::uuid[]) AS i (id) WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = i.id)"#,
        run_ids
    )
    .fetch_all(executor)
    .await
}

/// How many runs are queued, counted up to `limit`.
///
/// # Errors
/// A fault of Postgres.
pub async fn count_queued(executor: impl PgExecutor<'_>, limit: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (SELECT FROM runs WHERE status = 'queued' LIMIT $1) queued"#,
        limit
    )
    .fetch_one(executor)
    .await
}

/// A run about to be cancelled.
#[derive(Clone, Debug)]
pub struct CancelTarget {
    /// The run.
    pub run_id: Uuid,
    /// Where it stands.
    pub status: RunStatus,
    /// Its epoch.
    pub epoch: i32,
}

/// Marks a run as to be cancelled and tells where it stands. None if it is not there or not this user's. A final run is
/// left as it is; a running one is ended by its worker; a queued or parked one is the caller's to finish.
///
/// # Errors
/// A fault of Postgres.
pub async fn request_cancel(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<Option<CancelTarget>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        UPDATE runs SET cancel_requested_at = CASE
            WHEN status IN ('queued', 'running', 'waiting_approval') THEN COALESCE(cancel_requested_at, now())
            ELSE cancel_requested_at END,
            -- Should nobody end it, a rescuer looks after a parked one.
            parked_until = CASE WHEN status = 'waiting_approval'
                THEN LEAST(parked_until, now() + interval '5 seconds') ELSE parked_until END
        WHERE id = $2 AND user_id = $1
        RETURNING id, status, epoch
        "#,
        user_id,
        run_id
    )
    .fetch_optional(executor)
    .await?;
    row.map(|row| {
        Ok(CancelTarget {
            run_id: row.id,
            status: status_column(&row.status)?,
            epoch: row.epoch,
        })
    })
    .transpose()
}

/// Marks every open run of a conversation as to be cancelled, for a conversation that is about to be deleted.
///
/// # Errors
/// A fault of Postgres.
pub async fn request_cancel_all(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    conversation_id: Uuid,
) -> Result<Vec<CancelTarget>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        UPDATE runs SET cancel_requested_at = COALESCE(cancel_requested_at, now()),
            parked_until = CASE WHEN status = 'waiting_approval'
                THEN LEAST(parked_until, now() + interval '5 seconds') ELSE parked_until END
        WHERE user_id = $1 AND conversation_id = $2 AND status IN ('queued', 'running', 'waiting_approval')
        RETURNING id, status, epoch
        "#,
        user_id,
        conversation_id
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(CancelTarget {
                run_id: row.id,
                status: status_column(&row.status)?,
                epoch: row.epoch,
            })
        })
        .collect()
}

/// What became of a retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    /// Queued again under the same id.
    Queued(QueuedRun),
    /// Not a failed or cancelled run, or not the last of its conversation.
    NotRetryable,
    /// Not there, or not this user's.
    NotFound,
}

/// Queues a failed or cancelled run again if it is the last of its conversation. Its tool results leave the messages;
/// they stand in the journal, with which the next attempt goes on.
///
/// # Errors
/// A fault of Postgres.
pub async fn retry(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<RetryOutcome, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        WITH target AS MATERIALIZED (
            SELECT r.id, r.conversation_id, r.seq, c.last_seq FROM runs r JOIN conversations c ON c.id = r.conversation_id
            WHERE r.id = $2 AND r.user_id = $1
        ), locked AS MATERIALIZED (
            -- Another last_seq than the one seen: a message came while this waited, and the run is no longer the last.
            SELECT c.id, c.last_seq FROM conversations c WHERE c.id = (SELECT conversation_id FROM target)
            FOR NO KEY UPDATE
        ), queued AS (
            UPDATE runs r SET status = 'queued', finished_at = NULL, final_event_seq = NULL, failure_reason = NULL,
                cancel_requested_at = NULL, deadline_at = NULL, time_left = NULL, first_claimed_at = NULL, failures = 0, rescues = 0,
                worker_id = NULL, epoch = r.epoch + 1, queued_at = now(), available_at = now(), ring_at = now() + interval '5 seconds'
            FROM target t JOIN locked l ON l.id = t.conversation_id AND l.last_seq = t.last_seq
            WHERE r.id = t.id AND r.status IN ('failed', 'cancelled')
              AND NOT EXISTS (SELECT FROM runs n WHERE n.conversation_id = t.conversation_id AND n.seq > t.seq)
            RETURNING r.id, r.conversation_id, r.attempt, r.epoch
        ), withdrawn AS (
            DELETE FROM messages m USING queued q WHERE m.run_id = q.id AND m.role = 'tool'
        )
        SELECT t.conversation_id, q.attempt AS "attempt?", q.epoch AS "epoch?"
        FROM target t LEFT JOIN queued q ON q.id = t.id
        "#,
        user_id,
        run_id
    )
    .fetch_optional(executor)
    .await?;
    let Some(row) = row else {
        return Ok(RetryOutcome::NotFound);
    };
    Ok(match (row.attempt, row.epoch) {
        (Some(attempt), Some(epoch)) => RetryOutcome::Queued(QueuedRun {
            run_id,
            user_id,
            conversation_id: row.conversation_id,
            attempt,
            epoch,
        }),
        _ => RetryOutcome::NotRetryable,
    })
}
