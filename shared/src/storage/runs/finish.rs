//! The end of a run: its reply, its tool results as messages and its final state, stored together or not at all.

mod lone;

use std::borrow::Borrow;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::{chat::Usage, run::RunStatus};
use crate::storage::journal::steps::StepRecord;
use crate::storage::status_column;

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
        WITH locked AS MATERIALIZED (
            SELECT i.*, r.conversation_id, c.last_seq
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int8[], $5::uuid[], $6::text[], $7::jsonb[], $8::text[],
                        $9::text[], $10::int2[], $11::int4[], $12::text[], $13::int8[], $14::int8[], $15::int4[])
                AS i (run_id, token, status, final_seq, message_id, content, tool_calls, reason, error, step, tries, step_model,
                      step_prompt_tokens, step_completion_tokens, model_ms)
            JOIN runs r ON r.id = i.run_id
            JOIN conversations c ON c.id = r.conversation_id
            ORDER BY c.id FOR NO KEY UPDATE OF c
        ), ended AS (
            UPDATE runs r SET
                status = CASE WHEN r.cancel_requested_at IS NULL THEN l.status ELSE 'cancelled' END,
                failure_reason = CASE WHEN r.cancel_requested_at IS NULL THEN l.reason END,
                last_error = COALESCE(l.error, r.last_error),
                lease_token = NULL, finished_at = now(), final_event_seq = l.final_seq,
                epoch = (l.final_seq >> 20)::int4,
                prompt_tokens = s.prompt_tokens + COALESCE(l.step_prompt_tokens, 0),
                completion_tokens = s.completion_tokens + COALESCE(l.step_completion_tokens, 0),
                model = COALESCE(l.step_model,
                    (SELECT d.model FROM steps d WHERE d.run_id = l.run_id ORDER BY d.step DESC LIMIT 1))
            FROM locked l CROSS JOIN LATERAL (
                SELECT COALESCE(sum(d.prompt_tokens), 0)::int8 AS prompt_tokens,
                    COALESCE(sum(d.completion_tokens), 0)::int8 AS completion_tokens
                FROM steps d WHERE d.run_id = l.run_id) s
            -- CASE keeps the planner from the partial index on open runs, which it would walk from end to end.
            WHERE r.id = l.run_id AND CASE WHEN r.status IN ('queued', 'running', 'waiting_approval')
                THEN r.lease_token IS NOT DISTINCT FROM l.token END
              -- Without a lease the epoch is the fence.
              AND (l.token IS NOT NULL OR r.epoch < (l.final_seq >> 20)::int4)
              -- A crash of Postgres may have lost the step before: then nothing that follows from it may stand.
              AND (l.step IS NULL OR l.step = 0
                OR (SELECT true FROM steps b WHERE b.run_id = l.run_id AND b.step = l.step - 1))
            RETURNING l.*, r.status AS ended_as, r.user_id, r.seq, r.attempt, r.finished_at, r.prompt_tokens,
                r.completion_tokens, (SELECT count(*) FROM tool_calls k WHERE k.run_id = r.id) AS tools
        ), numbered AS (
            UPDATE conversations c SET last_seq = c.last_seq + e.rows,
                updated_at = GREATEST(c.updated_at, clock_timestamp())
            FROM (SELECT conversation_id, sum(tools + (ended_as = 'succeeded')::int)::int8 AS rows FROM ended
                GROUP BY conversation_id) e
            WHERE c.id = e.conversation_id
        ), journalled AS (
            INSERT INTO steps (run_id, step, attempt, model, prompt_tokens, completion_tokens, model_ms)
            SELECT run_id, step, tries, step_model, step_prompt_tokens, step_completion_tokens, model_ms
            FROM ended WHERE step IS NOT NULL
        ), said AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls, tool_call_id, name,
                metadata)
            SELECT gen_random_uuid(), e.conversation_id, e.last_seq + k.nth, e.run_id, k.nth, 'tool', k.result::text, NULL,
                k.tool_call_id, k.tool_name, jsonb_build_object('step', k.step, 'arguments', k.arguments)
            FROM ended e CROSS JOIN LATERAL (SELECT t.*, row_number() OVER (ORDER BY t.step, t.call_index) AS nth
                FROM tool_calls t WHERE t.run_id = e.run_id) k
            UNION ALL
            SELECT e.message_id, e.conversation_id, e.last_seq + e.tools + 1, e.run_id, 32767, 'assistant', e.content,
                e.tool_calls, NULL, NULL, '{}'
            FROM ended e WHERE e.ended_as = 'succeeded'
        )
        SELECT e.run_id AS "id!", e.ended_as AS "status!", e.conversation_id AS "conversation_id!",
            e.user_id AS "user_id!", e.prompt_tokens AS "prompt_tokens!", e.completion_tokens AS "completion_tokens!",
            e.attempt AS "attempt!", e.final_seq AS "final_event_seq!", e.finished_at AS "finished_at!",
            (SELECT n.id FROM runs n WHERE n.user_id = e.user_id AND n.conversation_id = e.conversation_id
                AND n.seq > e.seq AND n.status = 'queued' ORDER BY n.seq LIMIT 1) AS next,
            e.last_seq <> (SELECT seen.last_seq FROM conversations seen WHERE seen.id = e.conversation_id)
                AS "look_again!"
        FROM ended e
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
        &columns.steps as &[Option<i16>],
        &columns.attempts as &[Option<i32>],
        &columns.models as &[Option<&str>],
        &columns.prompt_tokens as &[Option<i64>],
        &columns.completion_tokens as &[Option<i64>],
        &columns.model_ms as &[Option<i32>],
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
    steps: Vec<Option<i16>>,
    attempts: Vec<Option<i32>>,
    models: Vec<Option<&'a str>>,
    prompt_tokens: Vec<Option<i64>>,
    completion_tokens: Vec<Option<i64>>,
    model_ms: Vec<Option<i32>>,
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
