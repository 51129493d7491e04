//! Deferred steps: recorded before their calls are made, because a call needs approval or has its effect outside this
//! database. The calls of such a step are pending until `tool_calls` has their results.
//!
//! Once a step is recorded, the model is never asked for it again. Every write is fenced by the run's lease.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::steps::{RecordOutcome, StepRecord};
use crate::storage::runs::finish::Finish;

/// A recorded tool call that has no result yet.
#[derive(Clone, Debug, Deserialize)]
pub struct PendingCall {
    /// Its index in its step, from 0.
    pub index: i16,
    /// The model's id of the call.
    pub tool_call_id: String,
    /// The name of the tool.
    pub tool_name: String,
    /// The arguments without `user_id`; null if they were refused.
    pub arguments: serde_json::Value,
    /// Why the arguments were refused.
    pub refusal: Option<String>,
    /// Whether the call may be made only if the user approves it.
    pub needs_approval: bool,
    /// The user's decision. None before the user decides, and still none if the time to decide ran out.
    pub approved: Option<bool>,
    /// Whether an attempt started the call. Set only for calls whose effect is outside this database.
    pub started: bool,
}

/// The outcome of deferring a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeferOutcome {
    /// Recorded. The run continues.
    Recorded,
    /// Recorded. The run awaits its user's approval, and the lease has ended.
    AwaitingApproval(ApprovalWait),
    /// The user requested a cancellation. Nothing is recorded.
    CancelRequested,
    /// The lease is lost, or a crash of Postgres lost the previous step. Nothing is recorded.
    LeaseLost,
}

/// A run that awaits its user's approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApprovalWait {
    /// Its epoch.
    pub epoch: i32,
    /// When the approval expires.
    pub expires_at: DateTime<Utc>,
}

/// Records a step with its calls before any of them is made. If one of them needs approval, the same statement makes the run
/// wait for its user, for at most `approval_seconds`: without a lease, and with its deadline suspended.
///
/// # Errors
/// A database error.
pub async fn defer_step(
    executor: impl PgExecutor<'_>,
    run_id: Uuid,
    token: Uuid,
    step: &StepRecord,
    calls: &[PendingCall],
    approval_seconds: f64,
) -> Result<DeferOutcome, sqlx::Error> {
    let indexes: Vec<_> = calls.iter().map(|call| call.index).collect();
    let ids: Vec<_> = calls.iter().map(|call| call.tool_call_id.as_str()).collect();
    let names: Vec<_> = calls.iter().map(|call| call.tool_name.as_str()).collect();
    let arguments: Vec<_> = calls.iter().map(|call| &call.arguments).collect();
    let refusals: Vec<_> = calls.iter().map(|call| call.refusal.as_deref()).collect();
    let approvals: Vec<_> = calls.iter().map(|call| call.needs_approval).collect();
    let row = sqlx::query_file!(
        "src/storage/journal/defer_step.sql",
        run_id,
        token,
        step.step,
        step.attempt,
        step.model,
        step.content,
        step.usage.prompt_tokens,
        step.usage.completion_tokens,
        step.model_ms,
        step.usage.is_estimated,
        step.provider_data,
        &indexes,
        &ids as &[&str],
        &names as &[&str],
        &arguments as &[&serde_json::Value],
        &refusals as &[Option<&str>],
        &approvals,
        approval_seconds,
    )
    .fetch_optional(executor)
    .await?;
    Ok(match row {
        None => DeferOutcome::LeaseLost,
        Some(row) if row.cancel_requested => DeferOutcome::CancelRequested,
        Some(row) => match (row.epoch, row.parked_until) {
            (Some(epoch), Some(expires_at)) => {
                DeferOutcome::AwaitingApproval(ApprovalWait { epoch, expires_at })
            }
            _ => DeferOutcome::Recorded,
        },
    })
}

/// Marks a call as started before its first try, for a call whose effect is outside this database. Returns whether the user
/// requested a cancellation. None if the lease is lost or the call lacks its approval: then it must not be made.
///
/// # Errors
/// A database error.
pub async fn mark_started(
    executor: impl PgExecutor<'_>,
    run_id: Uuid,
    token: Uuid,
    step: i16,
    index: i16,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        WITH fence AS MATERIALIZED (
            SELECT r.id, r.cancel_requested_at IS NOT NULL AS cancel_requested FROM runs r
            WHERE r.id = $1 AND r.lease_token = $2 FOR NO KEY UPDATE OF r
        )
        UPDATE asked_calls a SET started_at = COALESCE(a.started_at, now()) FROM fence f
        WHERE a.run_id = f.id AND a.step = $3 AND a.call_index = $4 AND (a.expires_at IS NULL OR a.approved)
        RETURNING f.cancel_requested AS "cancel_requested!"
        "#,
        run_id,
        token,
        step,
        index
    )
    .fetch_optional(executor)
    .await
}

/// The result of a pending call.
#[derive(Clone, Debug)]
pub struct CallResult {
    /// The call's index in its step, from 0.
    pub index: i16,
    /// What the tool returned.
    pub result: serde_json::Value,
    /// Whether the call succeeded.
    pub success: bool,
}

/// Records results of a deferred step's calls, in the transaction that contains their effects if these are in this database.
/// [`RecordOutcome::LeaseLost`] if the lease is lost, or if a call succeeded without the approval that it needs: roll back.
///
/// # Errors
/// A database error.
pub async fn record_results(
    connection: &mut PgConnection,
    run_id: Uuid,
    token: Uuid,
    step: i16,
    results: &[CallResult],
    tools_ms: i32,
) -> Result<RecordOutcome, sqlx::Error> {
    let indexes: Vec<_> = results.iter().map(|call| call.index).collect();
    let values: Vec<_> = results.iter().map(|call| &call.result).collect();
    let successes: Vec<_> = results.iter().map(|call| call.success).collect();
    let row = sqlx::query!(
        r#"
        WITH fence AS MATERIALIZED (
            SELECT r.id, r.cancel_requested_at IS NOT NULL AS cancel_requested FROM runs r
            WHERE r.id = $1 AND r.lease_token = $2 FOR NO KEY UPDATE OF r
        ), recorded AS (
            -- Leaves out calls that succeeded without the approval that they need. The caller compares the counts.
            INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
            SELECT a.run_id, a.step, a.call_index, a.tool_call_id, a.tool_name, a.arguments, t.result, t.success
            FROM fence f, unnest($4::int2[], $5::jsonb[], $6::bool[]) AS t (call_index, result, success)
            JOIN asked_calls a ON a.run_id = $1 AND a.step = $3 AND a.call_index = t.call_index
            WHERE NOT t.success OR a.expires_at IS NULL OR a.approved
            RETURNING call_index
        ), timed AS (
            UPDATE steps s SET tools_ms = s.tools_ms + $7 FROM fence f WHERE s.run_id = f.id AND s.step = $3
        )
        SELECT f.cancel_requested AS "cancel_requested!", (SELECT count(*) FROM recorded) AS "recorded!" FROM fence f
        "#,
        run_id,
        token,
        step,
        &indexes,
        &values as &[&serde_json::Value],
        &successes,
        tools_ms
    )
    .fetch_optional(connection)
    .await?;
    Ok(match row {
        Some(row) if usize::try_from(row.recorded) == Ok(results.len()) => RecordOutcome::Written {
            cancel_requested: row.cancel_requested,
        },
        _ => RecordOutcome::LeaseLost,
    })
}

/// A run that is about to finish without a reply.
#[derive(Clone, Copy, Debug)]
pub struct EndingRun {
    /// The run.
    pub run_id: Uuid,
    /// Its lease. None for a run that is queued or awaits approval.
    pub token: Option<Uuid>,
    /// The number of the final event. Without a lease, its epoch is the fence.
    pub final_event_seq: i64,
}

impl From<&Finish> for EndingRun {
    fn from(finish: &Finish) -> Self {
        Self {
            run_id: finish.run_id,
            token: finish.token,
            final_event_seq: finish.final_event_seq,
        }
    }
}

/// Records a failure for every pending call of runs that finish: a call that was not started was not made; the outcome of a
/// started call is unknown. The journal then has a result for every call, also if the run is retried.
///
/// # Errors
/// A database error.
pub async fn settle(executor: impl PgExecutor<'_>, runs: &[EndingRun]) -> Result<(), sqlx::Error> {
    let run_ids: Vec<_> = runs.iter().map(|run| run.run_id).collect();
    let tokens: Vec<_> = runs.iter().map(|run| run.token).collect();
    let final_seqs: Vec<_> = runs.iter().map(|run| run.final_event_seq).collect();
    let not_done = failed(
        "NOT_DONE",
        "The run ended before this call was made; nothing was done.",
    );
    let unknown = failed(
        "OUTCOME_UNKNOWN",
        "The run ended while this call was being made; whether it took effect is unknown.",
    );
    sqlx::query!(
        r#"
        WITH ending AS MATERIALIZED (
            -- Locks the runs that the caller still owns, fenced as in finish_batch.sql.
            SELECT r.id FROM unnest($1::uuid[], $2::uuid[], $3::int8[]) AS i (run_id, token, final_seq)
            JOIN runs r ON r.id = i.run_id AND CASE WHEN r.status IN ('queued', 'running', 'waiting_approval') -- open run
                THEN r.lease_token IS NOT DISTINCT FROM i.token END
            WHERE i.token IS NOT NULL OR r.epoch < (i.final_seq >> 20)::int4 -- epoch of the event
            ORDER BY r.id FOR NO KEY UPDATE OF r
        )
        INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
        SELECT a.run_id, a.step, a.call_index, a.tool_call_id, a.tool_name, a.arguments,
            CASE WHEN a.started_at IS NULL THEN $4::jsonb ELSE $5::jsonb END, false
        FROM ending e JOIN asked_calls a ON a.run_id = e.id
        WHERE (SELECT true FROM tool_calls k
            WHERE k.run_id = a.run_id AND k.step = a.step AND k.call_index = a.call_index) IS NULL
        "#,
        &run_ids,
        &tokens as &[Option<Uuid>],
        &final_seqs,
        not_done,
        unknown
    )
    .execute(executor)
    .await
    .map(drop)
}

/// The result of a failed call, in the form that built-in tools use.
fn failed(code: &str, message: &str) -> serde_json::Value {
    serde_json::json!({"success": false, "error": format!("{code}: {message}"), "message": message})
}

/// The idempotency key of an external call. It is the same for every try, so that the server can recognise repeats.
pub fn idempotency_key(run_id: Uuid, step: i16, index: i16) -> String {
    format!("{run_id}-{step}-{index}")
}
