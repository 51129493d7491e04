//! The claim: who takes a run, with all that is needed to go on with it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use super::posts::Origin;
use crate::signals::wire::ReadyNotice;
use crate::storage::runs::QueuedRun;

/// A claimed run: the lease and what the worker must know, so that no read follows the claim.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The run.
    pub run_id: Uuid,
    /// The token that fences every later write: only its holder can change the run.
    pub token: Uuid,
    /// The run's conversation.
    pub conversation_id: Uuid,
    /// Whose run it is.
    pub user_id: Uuid,
    /// What the user is called.
    pub user_name: String,
    /// The agent that its conversation has chosen; none is the default one.
    pub agent: Option<String>,
    /// How often the run has been claimed, this time included.
    pub attempt: i32,
    /// Attempts that ended in a fault of the run itself.
    pub failures: i32,
    /// The high part of this lease's event numbers.
    pub epoch: i32,
    /// The database's time at the claim.
    pub now: DateTime<Utc>,
    /// When the run was queued: posted, or tried again.
    pub queued_at: DateTime<Utc>,
    /// Since when it could have been claimed: queued, due, and the one before it in its conversation had ended.
    pub ready_at: DateTime<Utc>,
    /// When the run is over, whoever holds it.
    pub deadline_at: DateTime<Utc>,
    /// Whether its user has asked for an end.
    pub cancel_requested: bool,
    /// Where the message came from.
    pub origin: Origin,
    /// The user's message.
    pub message: String,
    /// Earlier turns of the conversation, oldest first.
    pub history: Vec<PastTurn>,
    /// Steps that an earlier attempt has committed.
    pub journal: Vec<PastStep>,
}

impl Lease {
    /// How long the run could have been claimed before it was.
    pub fn waited(&self) -> Duration {
        (self.now - self.ready_at).to_std().unwrap_or_default()
    }

    /// How long ago, at the claim, the run had been queued.
    pub fn age(&self) -> Duration {
        (self.now - self.queued_at).to_std().unwrap_or_default()
    }
}

/// An earlier run of the conversation as its messages tell it. The claim writes an array of its fields in their order.
#[derive(Clone, Debug, Deserialize)]
pub struct PastTurn {
    /// How it ended; an open run never stands before a claimed one.
    pub status: String,
    /// Its messages by slot.
    pub messages: Vec<PastMessage>,
}

/// A stored message. The claim writes an array of its fields in their order.
#[derive(Clone, Debug, Deserialize)]
pub struct PastMessage {
    /// `user`, `assistant` or `tool`.
    pub role: String,
    /// The text; of a tool its result as JSON.
    pub content: String,
    /// Of a tool: the model's id of the call.
    pub tool_call_id: Option<String>,
    /// Of a tool: its name.
    pub name: Option<String>,
    /// Of a tool: its `step` and `arguments`.
    pub metadata: serde_json::Value,
}

/// A committed step of this run.
#[derive(Clone, Debug, Deserialize)]
pub struct PastStep {
    /// Its number, from 0.
    pub step: i16,
    /// What the model said beside its calls.
    pub content: String,
    /// The model that answered.
    pub model: String,
    /// Tokens sent.
    pub prompt_tokens: i64,
    /// Tokens received.
    pub completion_tokens: i64,
    /// Its calls that have results, by index.
    pub calls: Vec<PastCall>,
    /// Those that have none yet, by index: the step was journalled before they were made.
    pub asked: Vec<AskedCall>,
}

/// A journalled call of this run that is still to be made.
#[derive(Clone, Debug, Deserialize)]
pub struct AskedCall {
    /// Its place in its step.
    pub call_index: i16,
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
    /// What the user has said. A run that is claimed does not wait for an answer any more.
    pub approved: Option<bool>,
    /// Whether it was tried, if its effect is not in this database.
    pub started: bool,
}

/// A committed tool call of this run.
#[derive(Clone, Debug, Deserialize)]
pub struct PastCall {
    /// The model's id of the call.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// The arguments without `user_id`.
    pub arguments: serde_json::Value,
    /// What the tool answered.
    pub result: serde_json::Value,
}

/// How much of a conversation a claim brings along, and how long a run may take.
#[derive(Clone, Copy, Debug)]
pub struct ClaimBounds {
    /// Earlier turns, at most.
    pub history_turns: i64,
    /// Bytes of earlier messages, at most; the newest turns are kept.
    pub history_bytes: i64,
    /// Seconds from the first claim to the deadline.
    pub deadline_seconds: f64,
}

/// Claims those of the runs that are ready: queued, due, and the first open run of their conversation. One statement
/// and one commit for all; a run that somebody else has, or is about to have, is left out.
///
/// # Errors
/// A fault of Postgres. A violation of `runs_one_at_a_time` fails the whole batch: claim one by one then.
pub async fn claim(
    executor: impl PgExecutor<'_>,
    worker_id: Uuid,
    run_ids: &[Uuid],
    bounds: ClaimBounds,
) -> Result<Vec<Lease>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        WITH wanted AS MATERIALIZED (
            SELECT r.id FROM runs r
            -- CASE keeps the planner from the partial index on queued runs, which it would walk from end to end.
            WHERE r.id = ANY($1) AND CASE WHEN r.status = 'queued' THEN r.available_at <= now() END
              AND NOT EXISTS (SELECT FROM runs e
                WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
                  AND e.status IN ('queued', 'running', 'waiting_approval'))
            ORDER BY r.id FOR NO KEY UPDATE SKIP LOCKED
        ), claimed AS (
            UPDATE runs r SET status = 'running', lease_token = gen_random_uuid(), worker_id = $2,
                attempt = r.attempt + 1, epoch = r.epoch + 1, claimed_at = now(),
                first_claimed_at = COALESCE(r.first_claimed_at, now()),
                deadline_at = COALESCE(r.deadline_at, now() + COALESCE(r.time_left, make_interval(secs => $3))),
                time_left = NULL
            FROM wanted w WHERE r.id = w.id
            RETURNING r.*
        )
        SELECT c.id, c.lease_token AS "token!", c.conversation_id, c.user_id,
            (SELECT u.name FROM users u WHERE u.id = c.user_id) AS "user_name!",
            (SELECT v.agent FROM conversations v WHERE v.id = c.conversation_id) AS agent, c.attempt,
            c.failures, c.epoch, now() AS "now!", c.deadline_at AS "deadline_at!", c.queued_at,
            GREATEST(c.queued_at, c.available_at, (SELECT b.finished_at FROM runs b
                WHERE b.conversation_id = c.conversation_id AND b.seq < c.seq ORDER BY b.seq DESC LIMIT 1))
                AS "ready_at!", c.request_id, c.traceparent,
            c.cancel_requested_at IS NOT NULL AS "cancel_requested!",
            (SELECT m.content FROM messages m WHERE m.run_id = c.id AND m.slot = 0) AS "message!",
            COALESCE((
                -- Which turns, by their size; only then what is in them: arrays of the fields in their order, as json, which
                -- Postgres is twice as quick to write as objects as jsonb.
                SELECT json_agg(json_build_array(t.status, (
                    SELECT json_agg(json_build_array(h.role, h.content, h.tool_call_id, h.name, h.metadata)
                        ORDER BY h.slot)
                    FROM messages h WHERE h.run_id = t.id)) ORDER BY t.seq)
                FROM (SELECT p.id, p.seq, p.status, (sum(p.bytes) OVER (ORDER BY p.seq DESC))::int8 AS bytes
                      FROM (SELECT e.id, e.seq, e.status,
                                (SELECT sum(octet_length(h.content)
                                     + CASE h.role WHEN 'tool' THEN pg_column_size(h.metadata) ELSE 0 END)::int8
                                 FROM messages h WHERE h.run_id = e.id) AS bytes
                            FROM runs e
                            WHERE e.conversation_id = c.conversation_id AND e.seq < c.seq
                            ORDER BY e.seq DESC LIMIT $4) p) t
                WHERE t.bytes <= $5
            ), '[]') AS "history!: Json<Vec<PastTurn>>",
            CASE WHEN c.attempt = 1 THEN '[]' ELSE COALESCE((
                SELECT jsonb_agg(jsonb_build_object('step', s.step, 'content', s.content, 'model', s.model,
                    'prompt_tokens', s.prompt_tokens, 'completion_tokens', s.completion_tokens, 'calls', COALESCE((
                        SELECT jsonb_agg(jsonb_build_object('tool_call_id', k.tool_call_id, 'tool_name', k.tool_name,
                            'arguments', k.arguments, 'result', k.result) ORDER BY k.call_index)
                        FROM tool_calls k WHERE k.run_id = s.run_id AND k.step = s.step), '[]'),
                    'asked', COALESCE((
                        SELECT jsonb_agg(jsonb_build_object('call_index', a.call_index, 'tool_call_id', a.tool_call_id,
                            'tool_name', a.tool_name, 'arguments', a.arguments, 'refusal', a.refusal,
                            'needs_consent', a.expires_at IS NOT NULL, 'approved', a.approved,
                            'started', a.started_at IS NOT NULL) ORDER BY a.call_index)
                        FROM asked_calls a WHERE a.run_id = s.run_id AND a.step = s.step
                          AND (SELECT true FROM tool_calls k WHERE k.run_id = a.run_id AND k.step = a.step
                            AND k.call_index = a.call_index) IS NULL), '[]')) ORDER BY s.step)
                FROM steps s WHERE s.run_id = c.id
            ), '[]') END AS "journal!: Json<Vec<PastStep>>"
        FROM claimed c
        "#,
        run_ids,
        worker_id,
        bounds.deadline_seconds,
        bounds.history_turns,
        bounds.history_bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Lease {
            run_id: row.id,
            token: row.token,
            conversation_id: row.conversation_id,
            user_id: row.user_id,
            user_name: row.user_name,
            agent: row.agent,
            attempt: row.attempt,
            failures: row.failures,
            epoch: row.epoch,
            now: row.now,
            queued_at: row.queued_at,
            ready_at: row.ready_at,
            deadline_at: row.deadline_at,
            cancel_requested: row.cancel_requested,
            origin: Origin {
                request_id: row.request_id,
                traceparent: row.traceparent,
            },
            message: row.message,
            history: row.history.0,
            journal: row.journal.0,
        })
        .collect())
}

/// Users whose runs one look of [`find_ready`] weighs against each other, at most.
const USERS_A_LOOK: i64 = 1000;

/// Finds runs that are ready, for workers that can't hear the bell. Users take turns: each one's first run comes before any
/// one's second, and who has fewer runs under way comes first. The look begins with the user after `after` and does not come
/// round to those before, so begin the next one with [`Uuid::nil`] when it has found less than `limit`.
///
/// # Errors
/// A fault of Postgres.
pub async fn find_ready(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<ReadyNotice>, sqlx::Error> {
    sqlx::query_as!(
        ReadyNotice,
        r#"
        WITH RECURSIVE users AS (
            -- One step of the index a user, however many runs wait.
            (SELECT user_id FROM runs WHERE status IN ('queued', 'running', 'waiting_approval') AND user_id > $1
                ORDER BY user_id LIMIT 1)
            UNION ALL
            SELECT (SELECT n.user_id FROM runs n
                WHERE n.status IN ('queued', 'running', 'waiting_approval') AND n.user_id > u.user_id
                ORDER BY n.user_id LIMIT 1)
            FROM users u WHERE u.user_id IS NOT NULL
        )
        SELECT r.user_id AS "user_id!", r.id AS "run_id!"
        FROM (SELECT user_id FROM users WHERE user_id IS NOT NULL LIMIT $3) u
        CROSS JOIN LATERAL (
            SELECT q.user_id, q.id, q.ring_at, row_number() OVER (ORDER BY q.ring_at)
                + (SELECT count(*) FROM (SELECT FROM runs h WHERE h.user_id = u.user_id AND h.status = 'running'
                    LIMIT $2) held) AS turn
            FROM (
                SELECT w.user_id, w.id, w.ring_at FROM runs w
                WHERE w.user_id = u.user_id AND w.status = 'queued' AND w.available_at <= now()
                  AND NOT EXISTS (SELECT FROM runs e
                    WHERE e.user_id = w.user_id AND e.conversation_id = w.conversation_id AND e.seq < w.seq
                      AND e.status IN ('queued', 'running', 'waiting_approval'))
                LIMIT $2
            ) q
        ) r
        ORDER BY r.turn, r.ring_at LIMIT $2
        "#,
        after,
        limit,
        USERS_A_LOOK
    )
    .fetch_all(executor)
    .await
}

/// Hands a run back: queued again and ready at once. None if the lease was no longer this one.
///
/// With `failed`, the attempt counts as a fault of the run and waits for `delay_seconds`.
///
/// # Errors
/// A fault of Postgres.
pub async fn release(
    executor: impl PgExecutor<'_>,
    run_id: Uuid,
    token: Uuid,
    failed: Option<&str>,
    delay_seconds: f64,
) -> Result<Option<QueuedRun>, sqlx::Error> {
    sqlx::query_as!(
        QueuedRun,
        r#"
        UPDATE runs SET status = 'queued', lease_token = NULL, worker_id = NULL, epoch = epoch + 1,
            failures = failures + CASE WHEN $3::text IS NULL THEN 0 ELSE 1 END, last_error = COALESCE($3, last_error),
            available_at = now() + make_interval(secs => $4), ring_at = now() + make_interval(secs => $4)
        WHERE id = $1 AND lease_token = $2
        RETURNING id AS run_id, user_id, conversation_id, attempt, epoch
        "#,
        run_id,
        token,
        failed,
        delay_seconds
    )
    .fetch_optional(executor)
    .await
}

/// Whether a lease still holds.
///
/// # Errors
/// A fault of Postgres.
pub async fn holds(executor: impl PgExecutor<'_>, run_id: Uuid, token: Uuid) -> Result<bool, sqlx::Error> {
    let held = sqlx::query_scalar!(
        r#"SELECT true AS "held!" FROM runs WHERE id = $1 AND lease_token = $2"#,
        run_id,
        token
    )
    .fetch_optional(executor)
    .await?;
    Ok(held.is_some())
}

/// A page of the runs that are ready, by id after `after`.
///
/// # Errors
/// A fault of Postgres.
pub async fn ready_page(
    executor: impl PgExecutor<'_>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<ReadyNotice>, sqlx::Error> {
    sqlx::query_as!(
        ReadyNotice,
        r#"
        SELECT r.user_id, r.id AS run_id FROM runs r
        WHERE r.id > $1 AND r.status = 'queued' AND r.available_at <= now()
          AND NOT EXISTS (SELECT FROM runs e
            WHERE e.user_id = r.user_id AND e.conversation_id = r.conversation_id AND e.seq < r.seq
              AND e.status IN ('queued', 'running', 'waiting_approval'))
        ORDER BY r.id LIMIT $2
        "#,
        after,
        limit
    )
    .fetch_all(executor)
    .await
}
