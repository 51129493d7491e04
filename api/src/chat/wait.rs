//! Waits for a run on behalf of a request.

use std::{sync::Arc, time::Duration};

use errand_shared::{
    Uuid,
    domain::{chat::ChatResponse, run::RunStatus, timing::RunTiming},
    storage::runs::{self, RunView},
};
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    ChatState,
    waiter::{Change, Outcome, Wait},
};
use crate::http::error::ApiError;

/// The current state of a run.
#[derive(Debug)]
pub(crate) struct RunSnapshot {
    pub(crate) run: ChatResponse,
    /// How long each phase of the run took. Only a finished run has this.
    pub(crate) timing: Option<RunTiming>,
}

impl From<ChatResponse> for RunSnapshot {
    fn from(run: ChatResponse) -> Self {
        Self { run, timing: None }
    }
}

impl From<RunView> for RunSnapshot {
    fn from(view: RunView) -> Self {
        Self {
            timing: view.response.status.is_final().then_some(view.timing),
            run: view.response,
        }
    }
}

/// Waits until a user's run finishes, needs approval, `timeout` elapses or the process shuts down. Returns the run's current
/// state.
///
/// A finished run is always read from Postgres: a Redis message may be late and report an end that a retry has undone.
///
/// # Errors
/// [`ApiError::NotFound`] if the user has no such run; a database error.
pub(crate) async fn wait_for_run(
    chat: &ChatState,
    user_id: Uuid,
    run_id: Uuid,
    timeout: Duration,
) -> Result<RunSnapshot, ApiError> {
    let deadline = Instant::now() + timeout;
    loop {
        let wait = chat.waiter.wait_for(user_id, run_id);
        let view = chat
            .database
            .run(runs::view(&chat.database.pool, user_id, run_id))
            .await?
            .ok_or_else(|| ApiError::run_not_found(run_id))?;
        if view.response.status.is_final() {
            return Ok(view.into());
        }
        wait.mark_stored();
        let left = deadline.saturating_duration_since(Instant::now());
        let snapshot = wait_for_change(chat, wait, left, user_id, view.response, view.epoch).await?;
        if !snapshot.run.status.is_final() {
            return Ok(snapshot);
        }
    }
}

/// Waits as [`wait_for_run`] does, for a run that was last read as `last_seen` in the epoch `seen_epoch`. An approval that was
/// requested in that epoch or earlier does not end the wait.
pub(super) async fn wait_for_change(
    chat: &ChatState,
    mut wait: Wait,
    timeout: Duration,
    user_id: Uuid,
    last_seen: ChatResponse,
    mut seen_epoch: i32,
) -> Result<RunSnapshot, ApiError> {
    if timeout.is_zero() {
        return Ok(last_seen.into());
    }
    let deadline = Instant::now() + timeout;
    loop {
        let waiting = wait.change(seen_epoch).instrument(errand_shared::trace!("wait"));
        let change = tokio::select! {
            change = waiting => Some(change),
            () = tokio::time::sleep_until(deadline) => None,
            () = chat.lifecycle.stopped() => None,
        };
        let is_over = match change {
            Some(Change::Finished(Outcome::Final(end))) => {
                let end = Arc::unwrap_or_clone(end);
                return Ok(RunSnapshot {
                    run: end.response,
                    timing: end.timing,
                });
            }
            Some(Change::Finished(Outcome::Deleted)) => return Err(ApiError::conversation_deleted()),
            Some(Change::AwaitingApproval) => false,
            None => true,
        };
        let current = runs::view(&chat.database.pool, user_id, last_seen.run_id);
        let current = match chat.database.run(current).await {
            Ok(current) => current.ok_or_else(ApiError::conversation_deleted)?,
            Err(ApiError::DatabaseUnavailable { .. }) => return Ok(last_seen.into()),
            Err(error) => return Err(error),
        };
        // The user may have decided already, in which case the run is queued or running again.
        let is_active = matches!(current.response.status, RunStatus::Queued | RunStatus::Running);
        if is_over || !is_active {
            return Ok(current.into());
        }
        seen_epoch = current.epoch;
    }
}
