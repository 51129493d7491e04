//! Runs as an admin sees them: whose, where they stand, why they failed; never what anybody said.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{domain::run::RunStatus, storage::status_column};

/// Steps of a run that are shown, at most.
const STEPS: i64 = 1000;

/// A run as an admin sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunDetails {
    /// The run.
    pub run_id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Where it stands.
    pub status: RunStatus,
    /// How often it was claimed.
    pub attempt: i32,
    /// Claims that ended in a fault of the run itself, since it was posted or last tried again.
    pub failures: i32,
    /// Workers that died under it, since then.
    pub rescues: i32,
    /// Why it failed, as its user is told; null unless it did.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// What went wrong last, for an operator.
    #[schema(required = true)]
    pub last_error: Option<String>,
    /// The worker that holds it or held it at its end.
    #[schema(required = true)]
    pub worker_id: Option<Uuid>,
    /// The model that answered last; null until the run has ended.
    #[schema(required = true)]
    pub model: Option<String>,
    /// Tokens sent, once the run has ended.
    pub prompt_tokens: i64,
    /// Tokens received, once the run has ended.
    pub completion_tokens: i64,
    /// When its message came.
    pub created_at: DateTime<Utc>,
    /// When it was queued, the last time if it was tried again.
    pub queued_at: DateTime<Utc>,
    /// Before when nobody claims it.
    pub available_at: DateTime<Utc>,
    /// When it was first claimed since then.
    #[schema(required = true)]
    pub first_claimed_at: Option<DateTime<Utc>>,
    /// When it was last claimed.
    #[schema(required = true)]
    pub claimed_at: Option<DateTime<Utc>>,
    /// Until when it must have ended.
    #[schema(required = true)]
    pub deadline_at: Option<DateTime<Utc>>,
    /// When somebody asked for its end.
    #[schema(required = true)]
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[schema(required = true)]
    pub finished_at: Option<DateTime<Utc>>,
    /// When its steps were removed, because they had been kept for long enough.
    #[schema(required = true)]
    pub journal_dropped_at: Option<DateTime<Utc>>,
}

/// The columns of a dossier.
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
    fn dossier(self) -> Result<RunDetails, sqlx::Error> {
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

/// Which runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which {
    /// Only those of this state.
    pub status: Option<RunStatus>,
    /// Only those of this user.
    pub user_id: Option<Uuid>,
    /// Only those before this one.
    pub before: Option<Uuid>,
}

/// A page of runs, the newest first by their ids, which grow with time.
///
/// # Errors
/// A fault of Postgres.
pub async fn page(
    executor: impl PgExecutor<'_>,
    which: Which,
    limit: i64,
) -> Result<Vec<RunDetails>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        -- A branch for each way to find the rows, with the states written out, so that each has its index.
        WITH chosen AS MATERIALIZED (
            (SELECT id FROM runs WHERE $2::uuid IS NOT NULL AND user_id = $2 AND ($1::text IS NULL OR status = $1)
                AND id < $3 ORDER BY id DESC LIMIT $4)
            UNION ALL
            (SELECT id FROM runs WHERE $2 IS NULL AND ($1 IS NULL OR $1 = 'succeeded' AND status = 'succeeded')
                AND id < $3 ORDER BY id DESC LIMIT $4)
            UNION ALL
            (SELECT id FROM runs WHERE $2 IS NULL AND $1 IN ('failed', 'cancelled') AND status = $1
                AND status IN ('failed', 'cancelled') AND id < $3 ORDER BY id DESC LIMIT $4)
            UNION ALL
            (SELECT id FROM (SELECT id FROM runs WHERE $2 IS NULL AND $1 IN ('queued', 'running', 'waiting_approval')
                AND status = $1 AND status IN ('queued', 'running', 'waiting_approval') AND id < $3 OFFSET 0) open
                ORDER BY id DESC LIMIT $4)
        )
        SELECT r.id, r.conversation_id, r.user_id, r.status, r.attempt, r.failures, r.rescues, r.failure_reason,
            r.last_error, r.worker_id, r.model, r.prompt_tokens, r.completion_tokens, r.created_at, r.queued_at,
            r.available_at, r.first_claimed_at, r.claimed_at, r.deadline_at, r.cancel_requested_at, r.finished_at,
            r.journal_dropped_at
        FROM chosen c JOIN runs r ON r.id = c.id
        ORDER BY r.id DESC LIMIT $4
        "#,
        which.status.map(RunStatus::as_str),
        which.user_id,
        which.before.unwrap_or(Uuid::max()),
        limit
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(Row::dossier).collect()
}

/// One run. None if there is no such run.
///
/// # Errors
/// A fault of Postgres.
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
    row.map(Row::dossier).transpose()
}

/// A step of a run as an admin sees it.
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
    /// How long the model took, in milliseconds.
    pub model_ms: i32,
    /// How long the tools took, in milliseconds.
    pub tools_ms: i32,
    /// When its tools began; of the last step, when the run ended.
    pub created_at: DateTime<Utc>,
    /// The tools that were called.
    pub tool_calls: Vec<ToolCallSummary>,
}

/// A tool call as an admin sees it: not with what, nor what came of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolCallSummary {
    /// The model's id of the call.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// Whether it did what it was asked for.
    pub success: bool,
    /// The code of its failure, such as `TASK_NOT_FOUND`.
    #[schema(required = true)]
    pub error: Option<String>,
}

/// The journalled steps of a run, in order.
///
/// # Errors
/// A fault of Postgres.
pub async fn steps(executor: impl PgExecutor<'_>, run_id: Uuid) -> Result<Vec<StepSummary>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT s.step, s.attempt, s.model, s.prompt_tokens, s.completion_tokens, s.model_ms, s.tools_ms, s.created_at,
            COALESCE((SELECT jsonb_agg(jsonb_build_object('tool_call_id', k.tool_call_id, 'tool_name', k.tool_name,
                    'success', k.success, 'error', NULLIF(split_part(k.result ->> 'error', ':', 1), ''))
                ORDER BY k.call_index)
                FROM tool_calls k WHERE k.run_id = s.run_id AND k.step = s.step), '[]') AS "calls!: Json<Vec<ToolCallSummary>>"
        FROM steps s WHERE s.run_id = $1 ORDER BY s.step LIMIT $2
        "#,
        run_id,
        STEPS
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
            model_ms: row.model_ms,
            tools_ms: row.tools_ms,
            created_at: row.created_at,
            tool_calls: row.calls.0,
        })
        .collect())
}
