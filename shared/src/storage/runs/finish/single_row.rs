//! The finish of one run with a reply whose last model call is not recorded yet: by far the most common case. The same as
//! [`super::finish_batch`] in a statement of few plan nodes, because Postgres takes as long to set up the large one as to
//! run it.

use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Ending, Finish, Finished};
use crate::{
    domain::{chat::Usage, run::RunStatus},
    storage::journal::steps::StepRecord,
};

/// The fields that a finish must have for this statement.
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

/// Finishes a run with its reply. None if it was not finished here: [`super::finish_batch`] then finds out why, and finishes
/// it if it may.
///
/// # Errors
/// As for [`super::finish_batch`].
pub(super) async fn finish(
    executor: impl PgExecutor<'_>,
    finish: &Finish,
) -> Result<Option<Finished>, sqlx::Error> {
    let Some(reply) = Reply::of(finish) else {
        return Ok(None);
    };
    let row = sqlx::query_file!(
        "src/storage/runs/finish/finish_single.sql",
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
        reply.step.usage.is_estimated,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| Finished {
        run_id: finish.run_id,
        status: RunStatus::Succeeded,
        conversation_id: row.conversation_id,
        user_id: row.user_id,
        usage: Usage::new(row.prompt_tokens, row.completion_tokens).estimated(row.usage_estimated),
        attempt: row.attempt,
        final_event_seq: finish.final_event_seq,
        finished_at: row.finished_at,
        next: row.next,
        recheck_queue: row.recheck_queue,
    }))
}
