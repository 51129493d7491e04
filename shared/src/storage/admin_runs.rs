//! Runs as admins see them: owner, status, timing and errors, but no message text and no arguments of tools.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{domain::run::RunStatus, storage::status_column};

/// Maximum number of steps that [`steps`] returns.
const MAX_STEPS: i64 = 1000;

/// A run as admins see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunDetails {
    /// The run.
    pub run_id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// The user who owns it.
    pub user_id: Uuid,
    /// Its status.
    pub status: RunStatus,
    /// How many times it was claimed.
    pub attempt: i32,
    /// Attempts that ended with an error of the run itself, since it was posted or last retried by its user.
    pub failures: i32,
    /// How many times its worker died, since then.
    pub rescues: i32,
    /// Why it failed, in words for its user; null unless it failed.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// The last error, for operators.
    #[schema(required = true)]
    pub last_error: Option<String>,
    /// The worker that executes it, or that finished it.
    #[schema(required = true)]
    pub worker_id: Option<Uuid>,
    /// The model that answered last; null until the run has finished.
    #[schema(required = true)]
    pub model: Option<String>,
    /// Tokens sent, once the run has finished.
    pub prompt_tokens: i64,
    /// Tokens received, once the run has finished.
    pub completion_tokens: i64,
    /// When its message was posted.
    pub created_at: DateTime<Utc>,
    /// When it was queued, most recently if its user retried it.
    pub queued_at: DateTime<Utc>,
    /// The earliest time at which it can be claimed.
    pub available_at: DateTime<Utc>,
    /// When it was first claimed after it was queued.
    #[schema(required = true)]
    pub first_claimed_at: Option<DateTime<Utc>>,
    /// When it was last claimed.
    #[schema(required = true)]
    pub claimed_at: Option<DateTime<Utc>>,
    /// When it must have finished.
    #[schema(required = true)]
    pub deadline_at: Option<DateTime<Utc>>,
    /// When its cancellation was requested.
    #[schema(required = true)]
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// When it finished.
    #[schema(required = true)]
    pub finished_at: Option<DateTime<Utc>>,
    /// When retention deleted its steps.
    #[schema(required = true)]
    pub journal_dropped_at: Option<DateTime<Utc>>,
}

/// The columns of [`RunDetails`].
#[derive(Debug)]
struct Row {
    id: Uuid,
    conversation_id: Uuid,
    user_id: Uuid,
    status: String,
    attempt: i32,
    failures: i32,
    rescues: i32,
    failure_reason: Option<String>,
    last_error: Option<String>,
    worker_id: Option<Uuid>,
    model: Option<String>,
    prompt_tokens: i64,
    completion_tokens: i64,
    created_at: DateTime<Utc>,
    queued_at: DateTime<Utc>,
    available_at: DateTime<Utc>,
    first_claimed_at: Option<DateTime<Utc>>,
    claimed_at: Option<DateTime<Utc>>,
    deadline_at: Option<DateTime<Utc>>,
    cancel_requested_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    journal_dropped_at: Option<DateTime<Utc>>,
}

impl Row {
    fn into_details(self) -> Result<RunDetails, sqlx::Error> {
        Ok(RunDetails {
            run_id: self.id,
            conversation_id: self.conversation_id,
            user_id: self.user_id,
            status: status_column(&self.status)?,
            attempt: self.attempt,
            failures: self.failures,
            rescues: self.rescues,
            reason: self.failure_reason,
            last_error: self.last_error,
            worker_id: self.worker_id,
            model: self.model,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            created_at: self.created_at,
            queued_at: self.queued_at,
            available_at: self.available_at,
            first_claimed_at: self.first_claimed_at,
            claimed_at: self.claimed_at,
            deadline_at: self.deadline_at,
            cancel_requested_at: self.cancel_requested_at,
            finished_at: self.finished_at,
            journal_dropped_at: self.journal_dropped_at,
        })
    }
}

/// Selects runs. The default selects all.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunFilter {
    /// Only runs with this status.
    pub status: Option<RunStatus>,
    /// Only runs of this user.
    pub user_id: Option<Uuid>,
    /// Only runs with a lower id than this.
    pub before: Option<Uuid>,
}

/// Returns a page of runs, newest first. Ids grow with time, so this is the order of the ids.
///
/// # Errors
/// A database error.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: RunFilter,
    limit: i64,
) -> Result<Vec<RunDetails>, sqlx::Error> {
    let rows = sqlx::query_file_as!(
        Row,
        "src/storage/admin_runs/page.sql",
        filter.status.map(RunStatus::as_str),
        filter.user_id,
        filter.before.unwrap_or(Uuid::max()),
        limit
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(Row::into_details).collect()
}

/// Finds a run.
///
/// # Errors
/// A database error.
pub async fn find(executor: impl PgExecutor<'_>, run_id: Uuid) -> Result<Option<RunDetails>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT id, conversation_id, user_id, status, attempt, failures, rescues, failure_reason, last_error, worker_id,
            model, prompt_tokens, completion_tokens, created_at, queued_at, available_at, first_claimed_at, claimed_at,
            deadline_at, cancel_requested_at, finished_at, journal_dropped_at
        FROM runs WHERE id = $1
        "#,
        run_id
    )
    .fetch_optional(executor)
    .await?;
    row.map(Row::into_details).transpose()
}

/// A step of a run as admins see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StepSummary {
    /// Its number, from 0.
    pub step: i16,
    /// The attempt that made it.
    pub attempt: i32,
    /// The model that answered.
    pub model: String,
    /// Tokens sent.
    pub prompt_tokens: i64,
    /// Tokens received.
    pub completion_tokens: i64,
    /// Whether the token counts are estimates, because the provider did not report them.
    pub usage_estimated: bool,
    /// Duration of the model call in milliseconds.
    pub model_ms: i32,
    /// Duration of the tool calls in milliseconds.
    pub tools_ms: i32,
    /// When its tools started; for the last step, when the run finished.
    pub created_at: DateTime<Utc>,
    /// The tool calls.
    pub tool_calls: Vec<ToolCallSummary>,
}

/// A tool call as admins see it: without arguments and result.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolCallSummary {
    /// The model's id of the call.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// Whether the call succeeded.
    pub success: bool,
    /// The error code, such as `TASK_NOT_FOUND`.
    #[schema(required = true)]
    pub error: Option<String>,
}

/// Returns the recorded steps of a run, in order.
///
/// # Errors
/// A database error.
pub async fn steps(executor: impl PgExecutor<'_>, run_id: Uuid) -> Result<Vec<StepSummary>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT s.step, s.attempt, s.model, s.prompt_tokens, s.completion_tokens, s.usage_estimated, s.model_ms, s.tools_ms, s.created_at,
            COALESCE((SELECT jsonb_agg(jsonb_build_object('tool_call_id', k.tool_call_id, 'tool_name', k.tool_name,
                    'success', k.success, 'error', NULLIF(split_part(k.result ->> 'error', ':', 1), ''))
                ORDER BY k.call_index)
                FROM tool_calls k WHERE k.run_id = s.run_id AND k.step = s.step), '[]') AS "calls!: Json<Vec<ToolCallSummary>>"
        FROM steps s WHERE s.run_id = $1 ORDER BY s.step LIMIT $2
        "#,
        run_id,
        MAX_STEPS
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StepSummary {
            step: row.step,
            attempt: row.attempt,
            model: row.model,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            usage_estimated: row.usage_estimated,
            model_ms: row.model_ms,
            tools_ms: row.tools_ms,
            created_at: row.created_at,
            tool_calls: row.calls.0,
        })
        .collect())
}
