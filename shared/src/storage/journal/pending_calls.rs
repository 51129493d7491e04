//! Steps that are journalled before their calls are made: because a call waits for its user's consent, or because its
//! effect is not in this database. Such a step is open until `tool_calls` has a result of each of its calls.
//!
//! What a model asked for is never asked of it again once this has it. Each write goes under the run's lease.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::steps::{RecordOutcome, StepRecord};
use crate::storage::runs::finish::Finish;

/// A call to be journalled before it is made.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its place in its step.
    pub index: i16,
    /// The model's id of the call.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// The arguments without `user_id`; null if they were refused.
    pub arguments: serde_json::Value,
    /// Why they were refused, if they were.
    pub refusal: Option<String>,
    /// Whether it is to be made only with its user's consent.
    pub needs_consent: bool,
}

/// What became of a step that was to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenOutcome {
    /// It is journalled, and the run goes on.
    Open,
    /// It is journalled, and the run waits for its user: the lease is given up.
    Parked(Parked),
    /// The run's user has asked for an end; nothing is journalled.
    CancelRequested,
    /// The lease is gone, or a crash of Postgres has lost the step before; nothing is journalled.
    LeaseLost,
}

/// A run that waits for its user's consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Its epoch.
    pub epoch: i32,
    /// Until when consent can be given.
    pub expires_at: DateTime<Utc>,
}

/// Journals a step with its calls, none of which has been made. If one of them needs its user's consent the run is parked
/// in the same statement: it waits for `consent_seconds` at most, without a lease, its deadline stopped.
///
/// # Errors
/// A fault of Postgres.
pub async fn open(
    executor: impl PgExecutor<'_>,
    run_id: Uuid,
    token: Uuid,
    step: &StepRecord,
    calls: &[Asked],
    consent_seconds: f64,
) -> Result<OpenOutcome, sqlx::Error> {
    let indexes: Vec<_> = calls.iter().map(|call| call.index).collect();
    let ids: Vec<_> = calls.iter().map(|call| call.tool_call_id.as_str()).collect();
    let names: Vec<_> = calls.iter().map(|call| call.tool_name.as_str()).collect();
    let arguments: Vec<_> = calls.iter().map(|call| &call.arguments).collect();
    let refusals: Vec<_> = calls.iter().map(|call| call.refusal.as_deref()).collect();
    let consents: Vec<_> = calls.iter().map(|call| call.needs_consent).collect();
    let row = sqlx::query!(
        r#"
        WITH fence AS MATERIALIZED (
            SELECT r.id, r.cancel_requested_at IS NOT NULL AS cancel_requested FROM runs r
            WHERE r.id = $1 AND r.lease_token = $2
              AND ($3::int2 = 0 OR (SELECT true FROM steps b WHERE b.run_id = $1 AND b.step = $3::int2 - 1))
            FOR NO KEY UPDATE OF r
        ), opened AS MATERIALIZED (
            SELECT id FROM fence WHERE NOT cancel_requested
        ), written AS (
            INSERT INTO steps (run_id, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms)
            SELECT id, $3, $4, $5, $6, $7, $8, $9 FROM opened
        ), asked AS (
            INSERT INTO asked_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, refusal, expires_at)
            SELECT o.id, $3, t.call_index, t.tool_call_id, t.tool_name, t.arguments, t.refusal,
                CASE WHEN t.needs_consent THEN now() + make_interval(secs => $16) END
            FROM opened o, unnest($10::int2[], $11::text[], $12::text[], $13::jsonb[], $14::text[], $15::bool[])
                AS t (call_index, tool_call_id, tool_name, arguments, refusal, needs_consent)
        ), parked AS (
            UPDATE runs r SET status = 'waiting_approval', lease_token = NULL, worker_id = NULL, epoch = r.epoch + 1,
                parked_until = now() + make_interval(secs => $16),
                time_left = GREATEST(r.deadline_at - now(), interval '0'), deadline_at = NULL
            FROM opened o WHERE r.id = o.id AND true = ANY($15::bool[])
            RETURNING r.epoch, r.parked_until
        )
        SELECT f.cancel_requested AS "cancel_requested!", p.epoch AS "epoch?", p.parked_until AS "parked_until?"
        FROM fence f LEFT JOIN parked p ON true
        "#,
        run_id,
        token,
        step.step,
        step.attempt,
        step.model,
        step.content,
        step.usage.prompt_tokens,
        step.usage.completion_tokens,
        step.model_ms,
        &indexes,
        &ids as &[&str],
        &names as &[&str],
        &arguments as &[&serde_json::Value],
        &refusals as &[Option<&str>],
        &consents,
        consent_seconds,
    )
    .fetch_optional(executor)
    .await?;
    Ok(match row {
        None => OpenOutcome::LeaseLost,
        Some(row) if row.cancel_requested => OpenOutcome::CancelRequested,
        Some(row) => match (row.epoch, row.parked_until) {
            (Some(epoch), Some(expires_at)) => OpenOutcome::Parked(Parked { epoch, expires_at }),
            _ => OpenOutcome::Open,
        },
    })
}

/// Marks a call whose effect is not in this database as started, for the commit before its first try. None if the lease is
/// gone, or the call lacks its user's consent: then it must not be made. Else whether the run's user has asked for an end.
///
/// # Errors
/// A fault of Postgres.
pub async fn start(
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

/// What came of an asked call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its place in its step.
    pub index: i16,
    /// What the tool answered.
    pub result: serde_json::Value,
    /// Whether it did what it was asked for.
    pub success: bool,
}

/// Journals results of an open step's calls, in the transaction that holds their effects if this database has them. If the
/// lease is lost, or a call that needs its user's consent has succeeded without it, roll back.
///
/// # Errors
/// A fault of Postgres.
pub async fn answer(
    connection: &mut PgConnection,
    run_id: Uuid,
    token: Uuid,
    step: i16,
    answers: &[Answer],
    tools_ms: i32,
) -> Result<RecordOutcome, sqlx::Error> {
    let indexes: Vec<_> = answers.iter().map(|answer| answer.index).collect();
    let results: Vec<_> = answers.iter().map(|answer| &answer.result).collect();
    let successes: Vec<_> = answers.iter().map(|answer| answer.success).collect();
    let row = sqlx::query!(
        r#"
        WITH fence AS MATERIALIZED (
            SELECT r.id, r.cancel_requested_at IS NOT NULL AS cancel_requested FROM runs r
            WHERE r.id = $1 AND r.lease_token = $2 FOR NO KEY UPDATE OF r
        ), answered AS (
            INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
            SELECT a.run_id, a.step, a.call_index, a.tool_call_id, a.tool_name, a.arguments, t.result, t.success
            FROM fence f, unnest($4::int2[], $5::jsonb[], $6::bool[]) AS t (call_index, result, success)
            JOIN asked_calls a ON a.run_id = $1 AND a.step = $3 AND a.call_index = t.call_index
            WHERE NOT t.success OR a.expires_at IS NULL OR a.approved
            RETURNING call_index
        ), timed AS (
            UPDATE steps s SET tools_ms = s.tools_ms + $7 FROM fence f WHERE s.run_id = f.id AND s.step = $3
        )
        SELECT f.cancel_requested AS "cancel_requested!", (SELECT count(*) FROM answered) AS "answered!" FROM fence f
        "#,
        run_id,
        token,
        step,
        &indexes,
        &results as &[&serde_json::Value],
        &successes,
        tools_ms
    )
    .fetch_optional(connection)
    .await?;
    Ok(match row {
        Some(row) if usize::try_from(row.answered) == Ok(answers.len()) => RecordOutcome::Written {
            cancel_requested: row.cancel_requested,
        },
        _ => RecordOutcome::LeaseLost,
    })
}

/// A run that is about to end without a reply.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// The run.
    pub run_id: Uuid,
    /// Its lease; none for a run that nobody holds.
    pub token: Option<Uuid>,
    /// Number of the final event. Without a lease its epoch is the fence.
    pub final_event_seq: i64,
}

impl From<&Finish> for Closing {
    fn from(finish: &Finish) -> Self {
        Self {
            run_id: finish.run_id,
            token: finish.token,
            final_event_seq: finish.final_event_seq,
        }
    }
}

/// Answers what is left of open steps, because their runs end: a call that was not started was not done, and of one that
/// was nobody knows. So the journal says what became of each call that a model made, also when the run is tried again.
///
/// # Errors
/// A fault of Postgres.
pub async fn close(executor: impl PgExecutor<'_>, closings: &[Closing]) -> Result<(), sqlx::Error> {
    let run_ids: Vec<_> = closings.iter().map(|closing| closing.run_id).collect();
    let tokens: Vec<_> = closings.iter().map(|closing| closing.token).collect();
    let final_seqs: Vec<_> = closings.iter().map(|closing| closing.final_event_seq).collect();
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
            SELECT r.id FROM unnest($1::uuid[], $2::uuid[], $3::int8[]) AS i (run_id, token, final_seq)
            JOIN runs r ON r.id = i.run_id AND CASE WHEN r.status IN ('queued', 'running', 'waiting_approval')
                THEN r.lease_token IS NOT DISTINCT FROM i.token END
            WHERE i.token IS NOT NULL OR r.epoch < (i.final_seq >> 20)::int4
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

/// A failed call's result.
fn failed(code: &str, message: &str) -> serde_json::Value {
    serde_json::json!({"success": false, "error": format!("{code}: {message}"), "message": message})
}

/// The key by which a server may know a call that is tried again; the same for each try.
pub fn idempotency_key(run_id: Uuid, step: i16, index: i16) -> String {
    format!("{run_id}-{step}-{index}")
}
