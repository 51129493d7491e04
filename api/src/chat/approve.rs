//! Approves or declines a tool call: stores the decision and, after the last decision of a run, notifies the workers.

use errand_shared::{
    Uuid,
    domain::chat::ChatResponse,
    service::failpoints::{self, Failpoint},
    storage::{
        journal::approvals::{self, DecisionOutcome},
        runs,
    },
};
use sqlx::Connection;

use super::ChatState;
use crate::http::error::ApiError;

/// Stores a user's decision about a tool call and returns the run's current state. After the last pending decision the run is
/// queued again.
///
/// # Errors
/// [`ApiError::NotFound`] if there is no such run or the call never needed approval, [`ApiError::Conflict`] if it was decided
/// differently or has expired; a database error.
pub(crate) async fn decide(
    chat: &ChatState,
    user_id: Uuid,
    run_id: Uuid,
    tool_call_id: &str,
    approve: bool,
) -> Result<ChatResponse, ApiError> {
    // Postgres text cannot contain U+0000, so there is no such call.
    let outcome = if tool_call_id.contains('\0') {
        DecisionOutcome::CallNotFound
    } else {
        chat.database
            .run(store(chat, user_id, run_id, tool_call_id, approve))
            .await?
    };
    match outcome {
        DecisionOutcome::Queued(queued) => {
            failpoints::hit(Failpoint::DecisionCommitted);
            chat.notifier.publish_queued(&queued, chat.clock.now());
            chat.notifier.notify_ready(user_id, run_id);
        }
        DecisionOutcome::Stored | DecisionOutcome::SameAsBefore => {}
        DecisionOutcome::Conflicting => {
            let earlier = if approve { "declined" } else { "approved" };
            return Err(ApiError::Conflict(format!(
                "This tool call was already {earlier}"
            )));
        }
        DecisionOutcome::TooLate => {
            return Err(ApiError::Conflict(
                "This tool call no longer waits for approval".to_owned(),
            ));
        }
        DecisionOutcome::CallNotFound => {
            return Err(ApiError::NotFound(
                "The run has no such tool call that needs approval".to_owned(),
            ));
        }
        DecisionOutcome::RunNotFound => return Err(ApiError::run_not_found(run_id)),
    }
    let run = runs::response(&chat.database.pool, user_id, run_id);
    let run = chat.database.run(run).await?;
    run.ok_or_else(|| ApiError::run_not_found(run_id))
}

async fn store(
    chat: &ChatState,
    user_id: Uuid,
    run_id: Uuid,
    tool_call_id: &str,
    approve: bool,
) -> Result<DecisionOutcome, sqlx::Error> {
    let mut connection = chat.database.pool.get().await?;
    let mut transaction = connection.begin().await?;
    let outcome = match approvals::lock(&mut transaction, user_id, run_id).await? {
        Some(_) => approvals::decide(&mut transaction, run_id, tool_call_id, approve).await?,
        None => DecisionOutcome::RunNotFound,
    };
    transaction.commit().await?;
    connection.release();
    Ok(outcome)
}
