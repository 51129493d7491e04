//! Waits for a run on behalf of a request.

use std::{sync::Arc, time::Duration};

use errand_shared::{
    Uuid,
    domain::{chat::ChatResponse, run::RunStatus, timing::RunTiming},
    storage::runs::{self, RunView},
};
use tokio::time::Instant;
use tracing::Instrument;

use super::accept::{gone, no_run};
use crate::{
    chat::waiter::{Change, Outcome, Wait},
    http::error::ApiError,
    state::App,
};

/// A run as far as it has come, and where its time went.
#[derive(Debug)]
pub(crate) struct Told {
    /// The run.
    pub(crate) run: ChatResponse,
    /// Where its time went, if it has ended.
    pub(crate) timing: Option<RunTiming>,
}

impl From<ChatResponse> for Told {
    fn from(run: ChatResponse) -> Self {
        Self { run, timing: None }
    }
}

impl From<RunView> for Told {
    fn from(view: RunView) -> Self {
        Self {
            timing: view.response.status.is_final().then_some(view.timing),
            run: view.response,
        }
    }
}

/// Waits for a run of this user. Its end is told from its row: news may be late, and of an end that a retry has taken back.
///
/// # Errors
/// 404 if there is none; a fault of Postgres.
pub(crate) async fn attach(
    app: &App,
    user_id: Uuid,
    run_id: Uuid,
    patience: Duration,
) -> Result<Told, ApiError> {
    let deadline = Instant::now() + patience;
    loop {
        let wait = app.waiter.wait_for(user_id, run_id);
        let run = app
            .database(runs::view(&app.pool, user_id, run_id))
            .await?
            .ok_or_else(|| no_run(run_id))?;
        if run.response.status.is_final() {
            return Ok(run.into());
        }
        wait.is_stored();
        let left = deadline.saturating_duration_since(Instant::now());
        let told = wait_out(app, wait, left, user_id, run.response, run.epoch).await?;
        if !told.run.status.is_final() {
            return Ok(told);
        }
    }
}

/// Waits until the run ends, begins to wait for its user, the patience does, or the process stops; gives the run as far as
/// it has come. `seen` is the epoch in which it was seen: a run that was parked by then does not end the wait.
pub(super) async fn wait_out(
    app: &App,
    mut wait: Wait,
    patience: Duration,
    user_id: Uuid,
    so_far: ChatResponse,
    mut seen: i32,
) -> Result<Told, ApiError> {
    if patience.is_zero() {
        return Ok(so_far.into());
    }
    let until = Instant::now() + patience;
    loop {
        let waiting = wait.change(seen).instrument(errand_shared::trace!("wait"));
        let change = tokio::select! {
            change = waiting => Some(change),
            () = tokio::time::sleep_until(until) => None,
            () = app.lifecycle.stopped() => None,
        };
        let is_over = match change {
            Some(Change::Ended(Outcome::Final(end))) => {
                let end = Arc::unwrap_or_clone(end);
                return Ok(Told {
                    run: end.response,
                    timing: end.timing,
                });
            }
            Some(Change::Ended(Outcome::Gone)) => return Err(gone()),
            Some(Change::Parked) => false,
            None => true,
        };
        // Whoever waited in vain is told how far it has come; with Postgres away, how far it had.
        let now = match app.database(runs::view(&app.pool, user_id, so_far.run_id)).await {
            Ok(now) => now.ok_or_else(gone)?,
            Err(ApiError::DatabaseAway { .. }) => return Ok(so_far.into()),
            Err(error) => return Err(error),
        };
        // Parked and decided in no time: it goes on.
        let goes_on = matches!(now.response.status, RunStatus::Queued | RunStatus::Running);
        if is_over || !goes_on {
            return Ok(now.into());
        }
        seen = now.epoch;
    }
}
