//! A run as its user sees it: the reply so far, its tool calls, the calls that await approval, and its timing.

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use crate::{
    domain::{
        chat::{Approval, ChatResponse, RunProblem, ToolCallView, Usage},
        events::{Event, EventData, RunEnd, requested_seq},
        timing::RunTiming,
    },
    storage::{
        journal::steps::{RecordedCall, with_user_id},
        status_column,
    },
};

/// A tool call that awaits approval, as stored: its arguments lack the user's id.
#[derive(Debug, Deserialize)]
struct AwaitedCall {
    index: i16,
    #[serde(flatten)]
    approval: Approval,
}

/// The current state of a run.
#[derive(Clone, Debug)]
pub struct RunView {
    /// The user who owns it.
    pub user_id: Uuid,
    /// How many times it has been claimed.
    pub attempt: i32,
    /// Its epoch: the high part of its next event numbers.
    pub epoch: i32,
    /// When its message was posted.
    pub created_at: DateTime<Utc>,
    /// For a finished run: the number of its final event, and when it finished.
    pub ended: Option<(i64, DateTime<Utc>)>,
    /// For each tool call of the response, whether it succeeded.
    pub successes: Vec<bool>,
    /// For each approval of the response, the index of the call in its step.
    pub awaited: Vec<i16>,
    /// The response that clients get.
    pub response: ChatResponse,
    /// Its timing so far, in milliseconds precision.
    pub timing: RunTiming,
}

impl RunView {
    /// The events that ask the user about the calls that await approval, equal to those that the worker published.
    pub fn requests(&self, at: DateTime<Utc>) -> impl Iterator<Item = Event<'_>> {
        let calls = self.awaited.iter().zip(&self.response.approvals);
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

    /// The end of the run. None if it has not finished.
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

/// Reads the given runs with one query. Runs that do not exist are left out, and the order is undefined. With `only_halted`,
/// returns only runs that have finished or await approval.
///
/// # Errors
/// A database error.
pub async fn views(
    executor: impl PgExecutor<'_>,
    run_ids: &[Uuid],
    only_halted: bool,
) -> Result<Vec<RunView>, sqlx::Error> {
    let rows = sqlx::query_file!("src/storage/runs/views.sql", run_ids, only_halted)
        .fetch_all(executor)
        .await?;
    rows.into_iter()
        .map(|row| {
            let successes = row.calls.0.iter().map(|call| call.success).collect();
            let tool_calls = row
                .calls
                .0
                .into_iter()
                .map(|call| ToolCallView {
                    arguments: with_user_id(&call.arguments, row.user_id),
                    tool_call_id: call.tool_call_id,
                    tool_name: call.tool_name,
                    result: call.result,
                })
                .collect();
            let awaited = row.awaited.0.iter().map(|call| call.index).collect();
            let approvals = row
                .awaited
                .0
                .into_iter()
                .map(|AwaitedCall { approval, .. }| Approval {
                    arguments: with_user_id(&approval.arguments, row.user_id),
                    ..approval
                })
                .collect();
            let response = ChatResponse {
                conversation_id: row.conversation_id,
                message: row.content.unwrap_or_default(),
                tool_calls,
                usage: Usage::new(row.prompt, row.completion).estimated(row.usage_estimated),
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
                awaited,
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

/// Reads one run of a user. None if it does not exist or belongs to another user.
///
/// # Errors
/// A database error.
pub async fn view(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<Option<RunView>, sqlx::Error> {
    let found = views(executor, &[run_id], false).await?;
    Ok(found.into_iter().find(|run| run.user_id == user_id))
}

/// Like [`view`], returning only the response.
///
/// # Errors
/// A database error.
pub async fn response(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    run_id: Uuid,
) -> Result<Option<ChatResponse>, sqlx::Error> {
    Ok(view(executor, user_id, run_id).await?.map(|run| run.response))
}
