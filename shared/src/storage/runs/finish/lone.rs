//! The end of one run with a reply, as its model's last call has led to it, which is what most ends are: the same as
//! [`super::finish`] in a statement of few plan nodes, because Postgres takes as long to set the large one up as to run it.

use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Ending, Finish, Finished};
use crate::{
    domain::{chat::Usage, run::RunStatus},
    storage::journal::steps::StepRecord,
};

/// What an end must have to be written here.
struct Reply<'a> {
    token: Uuid,
    message_id: Uuid,
    content: &'a str,
    tool_calls: &'a serde_json::Value,
    step: &'a StepRecord,
}

impl<'a> Reply<'a> {
    fn of(finish: &'a Finish) -> Option<Self> {
        let Ending::Succeeded {
            message_id,
            content,
            tool_calls,
        } = &finish.ending
        else {
            return None;
        };
        Some(Self {
            token: finish.token?,
            message_id: *message_id,
            content,
            tool_calls,
            step: finish.last_step.as_ref()?,
        })
    }
}

/// Ends a run with its reply, if nobody has asked for another end; none if it was not ended, for [`super::finish`] to see
/// whether it may be.
///
/// # Errors
/// As [`super::finish`].
pub(super) async fn finish(
    executor: impl PgExecutor<'_>,
    finish: &Finish,
) -> Result<Option<Finished>, sqlx::Error> {
    let Some(reply) = Reply::of(finish) else {
        return Ok(None);
    };
    let row = sqlx::query!(
        r#"
        WITH locked AS MATERIALIZED (
            SELECT c.id, c.last_seq FROM conversations c WHERE c.id = (SELECT r.conversation_id FROM runs r WHERE r.id = $1)
            FOR NO KEY UPDATE
        ), spent AS MATERIALIZED (
            SELECT COALESCE(sum(s.prompt_tokens), 0)::int8 + $8::int8 AS prompt_tokens,
                COALESCE(sum(s.completion_tokens), 0)::int8 + $9::int8 AS completion_tokens
            FROM steps s WHERE s.run_id = $1
        ), ended AS (
            UPDATE runs r SET status = 'succeeded', failure_reason = NULL, lease_token = NULL, finished_at = now(),
                final_event_seq = $3::int8, epoch = ($3 >> 20)::int4, prompt_tokens = s.prompt_tokens,
                completion_tokens = s.completion_tokens, model = $7::text
            FROM locked l, spent s
            WHERE r.id = $1 AND r.lease_token = $2 AND r.cancel_requested_at IS NULL
              -- A crash of Postgres may have lost the step before: then nothing that follows from it may stand.
              AND ($4::int2 = 0 OR (SELECT true FROM steps b WHERE b.run_id = $1 AND b.step = $4 - 1))
            RETURNING r.conversation_id, r.user_id, r.attempt, r.finished_at, r.prompt_tokens, r.completion_tokens,
                l.last_seq
        ), called AS MATERIALIZED (
            SELECT t.step, t.tool_call_id, t.tool_name, t.arguments, t.result,
                row_number() OVER (ORDER BY t.step, t.call_index) AS nth
            FROM tool_calls t WHERE t.run_id = $1
        ), numbered AS (
            UPDATE conversations c SET last_seq = c.last_seq + (SELECT count(*) FROM called) + 1,
                updated_at = GREATEST(c.updated_at, clock_timestamp())
            FROM ended e WHERE c.id = e.conversation_id
            RETURNING c.id, c.last_seq
        ), journalled AS (
            INSERT INTO steps (run_id, step, attempt, model, prompt_tokens, completion_tokens, model_ms)
            SELECT $1, $4, $5::int4, $7, $8, $9, $6::int4 FROM ended
        ), tool_rows AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_call_id, name, metadata)
            SELECT gen_random_uuid(), e.conversation_id, e.last_seq + k.nth, $1, k.nth, 'tool', k.result::text,
                k.tool_call_id, k.tool_name, jsonb_build_object('step', k.step, 'arguments', k.arguments)
            FROM ended e, called k
        ), reply AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls)
            SELECT $10::uuid, id, last_seq, $1, 32767, 'assistant', $11::text, $12::jsonb FROM numbered
        )
        SELECT e.conversation_id AS "conversation_id!", e.user_id AS "user_id!", e.attempt AS "attempt!",
            e.finished_at AS "finished_at!", e.prompt_tokens AS "prompt_tokens!",
            e.completion_tokens AS "completion_tokens!",
            (SELECT n.id FROM runs n WHERE n.user_id = e.user_id AND n.conversation_id = e.conversation_id
                AND n.status = 'queued' ORDER BY n.seq LIMIT 1) AS next,
            e.last_seq <> (SELECT seen.last_seq FROM conversations seen WHERE seen.id = e.conversation_id)
                AS "look_again!"
        FROM ended e
        "#,
        finish.run_id,
        reply.token,
        finish.final_event_seq,
        reply.step.step,
        reply.step.attempt,
        reply.step.model_ms,
        reply.step.model,
        reply.step.usage.prompt_tokens,
        reply.step.usage.completion_tokens,
        reply.message_id,
        reply.content,
        reply.tool_calls,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| Finished {
        run_id: finish.run_id,
        status: RunStatus::Succeeded,
        conversation_id: row.conversation_id,
        user_id: row.user_id,
        usage: Usage::new(row.prompt_tokens, row.completion_tokens),
        attempt: row.attempt,
        final_event_seq: finish.final_event_seq,
        finished_at: row.finished_at,
        next: row.next,
        look_again: row.look_again,
    }))
}
