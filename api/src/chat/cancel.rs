//! Cancelling: durable first, then told.

use errand_shared::{
    Uuid,
    domain::{events::final_seq, run::RunStatus},
    signals::wire::WorkerCommand,
    storage::{
        journal::pending_calls::{self, EndingRun},
        runs::{
            self, CancelTarget, RunView,
            finish::{self, Ending, Finish, Finished},
        },
    },
};
use sqlx::Connection;

use crate::{chat, http::error::ApiError, state::App};

/// Cancels a run of a user. Gives where it stood; a final one is left as it is.
///
/// # Errors
/// 404 if there is no such run; a fault of Postgres.
pub(crate) async fn cancel(app: &App, user_id: Uuid, run_id: Uuid) -> Result<RunStatus, ApiError> {
    let marked = app
        .database(runs::request_cancel(&app.pool, user_id, run_id))
        .await?;
    let target = marked.ok_or_else(|| chat::no_run(run_id))?;
    let status = target.status;
    cancel_targets(app, vec![target]).await?;
    Ok(status)
}

/// Ends those of the marked runs that no worker holds, and rings for what comes after them. The worker of a running one is
/// called; if it does not hear, it finds the mark.
///
/// # Errors
/// A fault of Postgres; the marks stand.
async fn cancel_targets(app: &App, targets: Vec<CancelTarget>) -> Result<(), ApiError> {
    let finishes: Vec<_> = targets
        .iter()
        .filter(|target| matches!(target.status, RunStatus::Queued | RunStatus::WaitingApproval))
        .map(|target| Finish {
            run_id: target.run_id,
            token: None,
            final_event_seq: final_seq(target.epoch + 1),
            ending: Ending::Cancelled,
            last_step: None,
        })
        .collect();
    call_workers(app, &targets);
    if finishes.is_empty() {
        return Ok(());
    }
    let done = app.database(finish(app, &finishes)).await?;
    let ended: Vec<Uuid> = done.iter().map(|run| run.run_id).collect();
    // A run that was claimed meanwhile has a lease, so it was left out and is ended by its worker.
    for finish in finishes.iter().filter(|finish| !ended.contains(&finish.run_id)) {
        app.notifier.send_command(WorkerCommand::Cancel(finish.run_id));
    }
    let views = app.database(runs::views(&app.pool, &ended, true)).await?;
    for end in views.into_iter().filter_map(RunView::into_end) {
        app.notifier.publish_run_finished(&end);
    }
    for run in done {
        let next = finish::next_queued(&app.pool, run.user_id, run.conversation_id);
        if let Some(next) = app.database(next).await? {
            app.notifier.notify_ready(run.user_id, next);
        }
    }
    Ok(())
}

/// Ends runs that nobody holds, under the locks of both statements: what is left of their steps is answered first.
async fn finish(app: &App, finishes: &[Finish]) -> Result<Vec<Finished>, sqlx::Error> {
    let run_ids: Vec<_> = finishes.iter().map(|finish| finish.run_id).collect();
    let closings: Vec<_> = finishes.iter().map(EndingRun::from).collect();
    let mut connection = app.pool.get().await?;
    let mut transaction = connection.begin().await?;
    finish::lock(&mut transaction, &run_ids).await?;
    pending_calls::settle(&mut *transaction, &closings).await?;
    let done = finish::finish_batch(&mut *transaction, finishes).await?;
    transaction.commit().await?;
    connection.release();
    Ok(done)
}

/// Calls the workers of those of the runs that are running.
pub(crate) fn call_workers(app: &App, targets: &[CancelTarget]) {
    for target in targets {
        if target.status == RunStatus::Running {
            app.notifier.send_command(WorkerCommand::Cancel(target.run_id));
        }
    }
}
