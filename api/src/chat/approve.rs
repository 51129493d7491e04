//! What a user says to a call that waits for consent: durable first, then told.

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

use crate::{chat, http::error::ApiError, state::App};

/// Stores a user's decision about a call; with the last one that the run waits for, the run goes on. Gives the run as far
/// as it has come.
///
/// # Errors
/// 404 if there is no such run or no such call waits, or has waited, for consent; 409 if it was decided otherwise, or its
/// time is over; a fault of Postgres.
pub(crate) async fn decide(
    app: &App,
    user_id: Uuid,
    run_id: Uuid,
    tool_call_id: &str,
    approve: bool,
) -> Result<ChatResponse, ApiError> {
    // Postgres takes no such text, and no call has it.
    let decided = if tool_call_id.contains('\0') {
        DecisionOutcome::CallNotFound
    } else {
        app.database(store(app, user_id, run_id, tool_call_id, approve))
            .await?
    };
    match decided {
        DecisionOutcome::Queued(queued) => {
            failpoints::hit(Failpoint::DecisionCommitted);
            app.notifier.publish_queued(&queued, app.clock.now());
            app.notifier.notify_ready(user_id, run_id);
        }
        DecisionOutcome::Stored | DecisionOutcome::SameAsBefore => {}
        DecisionOutcome::Conflicting => {
            let other = if approve { "declined" } else { "approved" };
            return Err(ApiError::Conflict(format!("This call was {other} before")));
        }
        DecisionOutcome::TooLate => {
            return Err(ApiError::Conflict(
                "This call does not wait for approval any more".to_owned(),
            ));
        }
        DecisionOutcome::CallNotFound => {
            return Err(ApiError::NotFound(
                "No such tool call waits for approval".to_owned(),
            ));
        }
        DecisionOutcome::RunNotFound => return Err(chat::no_run(run_id)),
    }
    let run = app.database(runs::response(&app.pool, user_id, run_id)).await?;
    run.ok_or_else(|| chat::no_run(run_id))
}

async fn store(
    app: &App,
    user_id: Uuid,
    run_id: Uuid,
    tool_call_id: &str,
    approve: bool,
) -> Result<DecisionOutcome, sqlx::Error> {
    let mut connection = app.pool.get().await?;
    let mut transaction = connection.begin().await?;
    let decided = match approvals::lock(&mut transaction, user_id, run_id).await? {
        Some(_) => approvals::decide(&mut transaction, run_id, tool_call_id, approve).await?,
        None => DecisionOutcome::RunNotFound,
    };
    transaction.commit().await?;
    connection.release();
    Ok(decided)
}
