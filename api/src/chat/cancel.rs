//! Cancels runs: stores the cancellation, then notifies the run's worker, its subscribers and its requests.

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

use super::ChatState;
use crate::http::error::ApiError;

/// Cancels a user's run and returns the status it had before. A run that had finished is not changed.
///
/// # Errors
/// [`ApiError::NotFound`] if the user has no such run; a database error.
pub(crate) async fn cancel(chat: &ChatState, user_id: Uuid, run_id: Uuid) -> Result<RunStatus, ApiError> {
    let request = runs::request_cancel(&chat.database.pool, user_id, run_id);
    let target = chat
        .database
        .run(request)
        .await?
        .ok_or_else(|| ApiError::run_not_found(run_id))?;
    let status = target.status;
    cancel_requested(chat, target).await?;
    Ok(status)
}

/// Ends a run whose cancellation was requested, unless a worker has its lease: then that worker ends it. The worker finds the
/// request in Postgres even if it misses the command.
async fn cancel_requested(chat: &ChatState, target: CancelTarget) -> Result<(), ApiError> {
    command_workers(chat, std::slice::from_ref(&target));
    if !matches!(target.status, RunStatus::Queued | RunStatus::WaitingApproval) {
        return Ok(());
    }
    let finish = Finish {
        run_id: target.run_id,
        token: None,
        final_event_seq: final_seq(target.epoch + 1),
        ending: Ending::Cancelled,
        last_step: None,
    };
    let finished = chat.database.run(finish_unleased(chat, &finish)).await?;
    if finished.is_empty() {
        // A worker claimed the run at the same moment.
        chat.notifier.send_command(WorkerCommand::Cancel(target.run_id));
    }
    for run in finished {
        let run_ids = [run.run_id];
        let views = runs::views(&chat.database.pool, &run_ids, true);
        let views = chat.database.run(views).await?;
        for end in views.into_iter().filter_map(RunView::into_end) {
            chat.notifier.publish_run_finished(&end);
        }
        let next = finish::next_queued(&chat.database.pool, run.user_id, run.conversation_id);
        if let Some(next) = chat.database.run(next).await? {
            chat.notifier.notify_ready(run.user_id, next);
        }
    }
    Ok(())
}

/// Finishes a run without a lease in one transaction. Its pending tool calls are settled first.
async fn finish_unleased(chat: &ChatState, finish: &Finish) -> Result<Vec<Finished>, sqlx::Error> {
    let mut connection = chat.database.pool.get().await?;
    let mut transaction = connection.begin().await?;
    finish::lock(&mut transaction, &[finish.run_id]).await?;
    pending_calls::settle(&mut *transaction, &[EndingRun::from(finish)]).await?;
    let finished = finish::finish_batch(&mut *transaction, std::slice::from_ref(finish)).await?;
    transaction.commit().await?;
    connection.release();
    Ok(finished)
}

/// Sends a cancel command to the workers of those runs that are running.
pub(crate) fn command_workers(chat: &ChatState, targets: &[CancelTarget]) {
    for target in targets {
        if target.status == RunStatus::Running {
            chat.notifier.send_command(WorkerCommand::Cancel(target.run_id));
        }
    }
}
