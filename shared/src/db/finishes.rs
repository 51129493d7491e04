//! The end of a run: its reply, its tool results as messages and its final state, stored together or not at all.

mod lone;

use std::borrow::Borrow;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::steps::StepRecord;
use crate::{
    chat::Usage,
    run::{RunStatus, status_column},
};

/// How a run is to end. If its user has asked for an end before, it ends as cancelled whatever is said here.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The run.
    pub run_id: Uuid,
    /// The lease of a running run; none for a run that is queued or waits for approval, which is then ended only if it
    /// has not changed hands since: if its epoch is below that of the final event.
    pub token: Option<Uuid>,
    /// Number of the final event. Its epoch becomes the run's.
    pub final_event_seq: i64,
    /// The end.
    pub ending: Ending,
    /// The model call that led here, unless it is journalled or there was none.
    pub last_step: Option<StepRecord>,
}

/// An end.
#[derive(Clone, Debug)]
pub enum Ending {
    /// With a reply.
    Succeeded {
        /// Id of the assistant's message.
        message_id: Uuid,
        /// The reply.
        content: String,
        /// All tool calls of the run as users see them.
        tool_calls: serde_json::Value,
    },
    /// Without a reply.
    Failed {
        /// For the user: the rest of "Agent execution failed: ".
        reason: String,
        /// For an operator.
        error: String,
    },
    /// By its user's wish.
    Cancelled,
}

impl Ending {
    /// What the run becomes, unless its user has asked for an end before.
    pub const fn status(&self) -> RunStatus {
        match self {
            Self::Succeeded { .. } => RunStatus::Succeeded,
            Self::Failed { .. } => RunStatus::Failed,
            Self::Cancelled => RunStatus::Cancelled,
        }
    }
}

/// A run that has ended, once the statement's commit has returned.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The run.
    pub run_id: Uuid,
    /// How it ended.
    pub status: RunStatus,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// Whose it was.
    pub user_id: Uuid,
    /// The sum over its steps.
    pub usage: Usage,
    /// How often it was claimed.
    pub attempt: i32,
    /// Number of the final event.
    pub final_event_seq: i64,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// The conversation's next run, if the statement saw one: ring for it.
    pub next: Option<Uuid>,
    /// A message arrived while the statement waited for the conversation: look with [`next_queued`].
    pub look_again: bool,
}

/// Ends runs as [`finish`] does; one that ends by itself the quickest way there is.
///
/// # Errors
/// As [`finish`].
pub async fn finish_quickly(
    executor: impl PgExecutor<'_> + Copy,
    finishes: &[impl Borrow<Finish> + Sync],
) -> Result<Vec<Finished>, sqlx::Error> {
    if let [one] = finishes
        && let Some(finished) = lone::finish(executor, one.borrow()).await?
    {
        return Ok(vec![finished]);
    }
    finish(executor, finishes).await
}

/// Ends runs; one statement and one commit for all. A run whose lease is gone is left out and unchanged, and so is one
/// whose last step follows on a step that is not in the journal: steps are not flushed, so a crash of Postgres can lose
/// one that its worker has seen committed, while the lease, which is older, survives.
///
/// Locks: conversations by id, then the runs. The unique slots of a run make a second reply impossible.
///
/// # Errors
/// A fault of Postgres; then nothing is stored, or the outcome is unknown if the connection broke.
#[expect(
    clippy::too_many_lines,
    reason = "one statement, which reads best in one piece"
)]
pub async fn finish(
    executor: impl PgExecutor<'_>,
    finishes: &[impl Borrow<Finish> + Sync],
) -> Result<Vec<Finished>, sqlx::Error> {
    let columns = Columns::of(finishes);
    let rows = sqlx::query!(
        r#"
        WITH input AS (
            SELECT i.*, r.conversation_id, r.user_id, seen.last_seq AS seen_seq,
                (SELECT count(*) FROM tool_calls k WHERE k.run_id = i.run_id) AS tools,
                (SELECT n.id FROM runs n WHERE n.user_id = r.user_id AND n.conversation_id = r.conversation_id
                    AND n.seq > r.seq AND n.status = 'queued' ORDER BY n.seq LIMIT 1) AS next
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int8[], $5::uuid[], $6::text[], $7::jsonb[], $8::text[],
                        $9::text[])
                AS i (run_id, token, status, final_seq, message_id, content, tool_calls, reason, error)
            -- CASE keeps the planner from the partial index on open runs, which it would walk from end to end.
            JOIN runs r ON r.id = i.run_id AND CASE WHEN r.status IN ('queued', 'running', 'waiting_approval')
                THEN r.lease_token IS NOT DISTINCT FROM i.token END
            JOIN conversations seen ON seen.id = r.conversation_id
        ), locked AS MATERIALIZED (
            SELECT c.id, c.last_seq FROM conversations c WHERE c.id IN (SELECT conversation_id FROM input)
            ORDER BY c.id FOR NO KEY UPDATE
        ), last_steps AS MATERIALIZED (
            -- Not EXISTS, which may be answered by reading all steps once.
            SELECT s.*, COALESCE(s.step = 0
                OR (SELECT true FROM steps b WHERE b.run_id = s.run_id AND b.step = s.step - 1), false) AS follows
            FROM unnest($10::uuid[], $11::int2[], $12::int4[], $13::text[], $14::int8[], $15::int8[], $16::int4[])
                AS s (run_id, step, attempt, model, prompt_tokens, completion_tokens, model_ms)
        ), spent AS MATERIALIZED (
            SELECT i.run_id, COALESCE(sum(s.prompt_tokens), 0)::int8 AS prompt_tokens,
                COALESCE(sum(s.completion_tokens), 0)::int8 AS completion_tokens,
                (array_agg(s.model ORDER BY s.step DESC))[1] AS model
            FROM input i LEFT JOIN LATERAL (
                SELECT d.step, d.model, d.prompt_tokens, d.completion_tokens FROM steps d WHERE d.run_id = i.run_id
                UNION ALL
                SELECT l.step, l.model, l.prompt_tokens, l.completion_tokens FROM last_steps l WHERE l.run_id = i.run_id
            ) s ON true GROUP BY i.run_id
        ), ended AS (
            UPDATE runs r SET
                status = CASE WHEN r.cancel_requested_at IS NULL THEN i.status ELSE 'cancelled' END,
                failure_reason = CASE WHEN r.cancel_requested_at IS NULL THEN i.reason END,
                last_error = COALESCE(i.error, r.last_error),
                lease_token = NULL, finished_at = now(), final_event_seq = i.final_seq,
                epoch = (i.final_seq >> 20)::int4, prompt_tokens = s.prompt_tokens,
                completion_tokens = s.completion_tokens, model = s.model
            FROM input i JOIN locked l ON l.id = i.conversation_id JOIN spent s ON s.run_id = i.run_id
            WHERE r.id = i.run_id AND CASE WHEN r.status IN ('queued', 'running', 'waiting_approval')
                THEN r.lease_token IS NOT DISTINCT FROM i.token END
              -- Without a lease the epoch is the fence.
              AND (i.token IS NOT NULL OR r.epoch < (i.final_seq >> 20)::int4)
              -- A crash of Postgres may have lost the step before: then nothing that follows from it may stand.
              AND NOT EXISTS (SELECT FROM last_steps s WHERE s.run_id = i.run_id AND NOT s.follows)
            RETURNING r.id, r.status, r.conversation_id, r.user_id, r.prompt_tokens, r.completion_tokens,
                r.attempt, r.final_event_seq, r.finished_at, i.seen_seq, l.last_seq, i.next, i.tools, i.message_id,
                i.content, i.tool_calls,
                i.tools + (r.status = 'succeeded')::int AS rows
        ), numbered AS (
            UPDATE conversations c SET last_seq = c.last_seq + e.rows,
                updated_at = GREATEST(c.updated_at, clock_timestamp())
            FROM (SELECT conversation_id, sum(rows)::int8 AS rows FROM ended GROUP BY conversation_id) e
            WHERE c.id = e.conversation_id
            RETURNING c.id, c.last_seq - e.rows AS base
        ), journalled AS (
            INSERT INTO steps (run_id, step, attempt, model, prompt_tokens, completion_tokens, model_ms)
            SELECT s.run_id, s.step, s.attempt, s.model, s.prompt_tokens, s.completion_tokens, s.model_ms
            FROM last_steps s JOIN ended e ON e.id = s.run_id
        ), tool_rows AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_call_id, name, metadata)
            SELECT gen_random_uuid(), e.conversation_id, n.base + k.nth, e.id, k.nth, 'tool', k.result::text,
                k.tool_call_id, k.tool_name, jsonb_build_object('step', k.step, 'arguments', k.arguments)
            FROM ended e JOIN numbered n ON n.id = e.conversation_id
            CROSS JOIN LATERAL (SELECT t.*, row_number() OVER (ORDER BY t.step, t.call_index) AS nth
                FROM tool_calls t WHERE t.run_id = e.id) k
        ), reply AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls)
            SELECT e.message_id, e.conversation_id, n.base + e.tools + 1, e.id, 32767, 'assistant', e.content,
                e.tool_calls
            FROM ended e JOIN numbered n ON n.id = e.conversation_id WHERE e.status = 'succeeded'
        )
        SELECT id AS "id!", status AS "status!", conversation_id AS "conversation_id!", user_id AS "user_id!",
            prompt_tokens AS "prompt_tokens!", completion_tokens AS "completion_tokens!", next,
            attempt AS "attempt!", final_event_seq AS "final_event_seq!", finished_at AS "finished_at!",
            seen_seq <> last_seq AS "look_again!"
        FROM ended
        "#,
        &columns.run_ids,
        &columns.tokens as &[Option<Uuid>],
        &columns.statuses as &[&str],
        &columns.final_seqs,
        &columns.message_ids as &[Option<Uuid>],
        &columns.contents as &[Option<&str>],
        &columns.tool_calls as &[Option<&serde_json::Value>],
        &columns.reasons as &[Option<&str>],
        &columns.errors as &[Option<&str>],
        &columns.step_runs,
        &columns.steps,
        &columns.attempts,
        &columns.models as &[&str],
        &columns.prompt_tokens,
        &columns.completion_tokens,
        &columns.model_ms,
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
                usage: Usage::new(row.prompt_tokens, row.completion_tokens),
                attempt: row.attempt,
                final_event_seq: row.final_event_seq,
                finished_at: row.finished_at,
                next: row.next,
                look_again: row.look_again,
            })
        })
        .collect()
}

/// The statement's arrays.
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
    step_runs: Vec<Uuid>,
    steps: Vec<i16>,
    attempts: Vec<i32>,
    models: Vec<&'a str>,
    prompt_tokens: Vec<i64>,
    completion_tokens: Vec<i64>,
    model_ms: Vec<i32>,
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
        if let Some(step) = &finish.last_step {
            self.step_runs.push(finish.run_id);
            self.steps.push(step.step);
            self.attempts.push(step.attempt);
            self.models.push(&step.model);
            self.prompt_tokens.push(step.usage.prompt_tokens);
            self.completion_tokens.push(step.usage.completion_tokens);
            self.model_ms.push(step.model_ms);
        }
    }
}

/// The first queued run of a conversation: the second look after a finish.
///
/// # Errors
/// A fault of Postgres.
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

/// Whether a run has ended with this final event: tells one whose finish was committed, but whose answer was lost, from
/// one that somebody else has ended.
///
/// # Errors
/// A fault of Postgres.
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

/// Takes the locks of a finish, in its order, in a transaction of the caller's: so that a finish of runs that somebody may
/// still be driving, as the transaction's next statement, sees the steps that were committed while it waited.
///
/// # Errors
/// A fault of Postgres.
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
