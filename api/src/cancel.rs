//! Cancelling: durable first, then told.

use errand_shared::{
    Uuid,
    db::{
        finishes::{self, Ending, Finish},
        runs::{self, CancelTarget},
    },
    run::{EVENTS_PER_EPOCH, RunStatus},
};

use crate::{error::ApiError, state::App};

/// Ends those of the marked runs that no worker holds, and rings for what comes after them. A running one is ended by
/// its worker, which finds the mark.
///
/// # Errors
/// A fault of Postgres; the marks stand.
pub(crate) async fn cancel_targets(app: &App, targets: Vec<CancelTarget>) -> Result<(), ApiError> {
    let finishes: Vec<_> = targets
        .iter()
        .filter(|target| matches!(target.status, RunStatus::Queued | RunStatus::WaitingApproval))
        .map(|target| Finish {
            run_id: target.run_id,
            token: None,
            final_event_seq: (i64::from(target.epoch) + 1) * EVENTS_PER_EPOCH + 1,
            ending: Ending::Cancelled,
            last_step: None,
        })
        .collect();
    if finishes.is_empty() {
        return Ok(());
    }
    // A run that was claimed meanwhile has a lease, so it is left out here and ended by its worker.
    let done = app.database(finishes::finish(&app.pool, &finishes)).await?;
    let ended: Vec<Uuid> = done.iter().map(|run| run.run_id).collect();
    for (_, response) in app.database(runs::responses(&app.pool, &ended, true)).await? {
        app.notifier.tell_final(&response);
    }
    for run in done {
        let next = finishes::next_queued(&app.pool, run.user_id, run.conversation_id);
        if let Some(next) = app.database(next).await? {
            app.notifier.ring(next);
        }
    }
    Ok(())
}
