//! Finishes runs: stores the end, publishes it, then notifies the workers of the conversation's next run. Also releases runs that did not
//! finish.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use errand_shared::storage::Pool;
use errand_shared::{
    Uuid,
    domain::{
        chat::{ChatResponse, RunProblem, ToolCallView},
        events::{RunEnd, final_seq},
        run::RunStatus,
        timing::RunTiming,
    },
    service::{
        failpoints::{self, Failpoint},
        lifecycle::Lifecycle,
        metrics::observe,
    },
    storage::{
        self,
        group_commit::GroupCommit,
        journal::{
            pending_calls::{self, EndingRun},
            steps::{self, StepRecord},
        },
        queue::claims::{self, Lease},
        runs::{
            self, RunView,
            finish::{self, Ending, Finish, Finished},
        },
    },
};
use sqlx::Connection;
use tokio::time::Instant;
use tracing::Instrument;

use super::failure::{Disposition, RunFailure};
use crate::{
    context::{Context, Finishes},
    metrics::Attempt,
    settings::WorkerSettings,
};

/// Where the tool loop ended without a failure.
pub(super) enum DriveOutcome {
    /// The run has a reply.
    Ended(Ending),
    /// The run waits for approval. The lease is released.
    AwaitingApproval,
}

/// What an attempt has done so far.
pub(super) struct RunProgress {
    pub(super) tool_calls: Vec<ToolCallView>,
    /// The model call whose step is not recorded yet.
    pub(super) unrecorded_step: Option<StepRecord>,
    /// Whether a recorded step may have calls without results.
    pub(super) has_pending_calls: bool,
    pub(super) model_time: Duration,
    pub(super) tools_time: Duration,
}

/// Starts the group commit of finishes. A run whose lease is lost has the outcome `None`.
pub(crate) fn group_commit(settings: &WorkerSettings, pool: &Pool, ended: &Lifecycle) -> Finishes {
    let pool = pool.clone();
    let max = settings.store.database_batch_max as usize;
    GroupCommit::start(max, ended, move |batch: Arc<[Arc<Finish>]>| {
        let pool = pool.clone();
        async move {
            // Keyed by the event number as well: the batch may contain an older lease of the same run.
            let key = |finish: &Finish| (finish.run_id, finish.final_event_seq);
            let mut finished: HashMap<_, _> = finish::finish(&pool, &batch)
                .await?
                .into_iter()
                .map(|finished| ((finished.run_id, finished.final_event_seq), finished))
                .collect();
            Ok(batch.iter().map(|finish| finished.remove(&key(finish))).collect())
        }
    })
}

/// Applies the outcome of an attempt: finishes the run, releases it to the queue, or leaves it to the worker that holds its lease now.
///
/// # Errors
/// A database error. The run is still leased to this worker then.
pub(super) async fn apply_outcome(
    context: &Context,
    lease: &Lease,
    mut progress: RunProgress,
    driven: Result<DriveOutcome, RunFailure>,
) -> Result<Attempt, sqlx::Error> {
    mutate_fence!(lease, &context.pool);
    let ending = match driven {
        Ok(DriveOutcome::Ended(ending)) => ending,
        Ok(DriveOutcome::AwaitingApproval) => return Ok(Attempt::AwaitingApproval),
        Err(failure) => {
            let disposition = failure.disposition(lease.failures, context.settings.run.run_max_attempts);
            tracing::warn!(run.id = %lease.run_id, run.attempt = lease.attempt, %failure, ?disposition, "attempt failed");
            context.metrics.failures.of(failure.kind()).inc();
            match disposition {
                Disposition::Drop => return Ok(Attempt::Lost),
                Disposition::Release => {
                    release(context, lease, None, Duration::ZERO).await?;
                    return Ok(Attempt::Released);
                }
                Disposition::Retry(delay) => {
                    release(context, lease, Some(&failure.to_string()), delay).await?;
                    return Ok(Attempt::Retried);
                }
                Disposition::Cancel => {
                    settle_pending_calls(context, lease, &progress).await?;
                    // The step that noticed the cancellation was committed. The response must include its calls.
                    reload_tool_calls(context, lease, &mut progress).await?;
                    Ending::Cancelled
                }
                Disposition::Fail(reason) => {
                    settle_pending_calls(context, lease, &progress).await?;
                    // A crash of Postgres may have lost a step. Without a reply, only the journal shows it.
                    if progress.has_pending_calls || !progress.tool_calls.is_empty() {
                        reload_tool_calls(context, lease, &mut progress).await?;
                    }
                    Ending::Failed {
                        reason,
                        error: failure.to_string(),
                    }
                }
            }
        }
    };
    let status = finish(context, lease, ending, progress)
        .instrument(errand_shared::trace!("finish"))
        .await?;
    Ok(match status {
        Some(RunStatus::Succeeded) => Attempt::Succeeded,
        Some(RunStatus::Cancelled) => Attempt::Cancelled,
        Some(_) => Attempt::Failed,
        None => {
            tracing::warn!(run.id = %lease.run_id, "lease lost before the run was finished");
            Attempt::Lost
        }
    })
}

/// Handles a run whose outcome could not be stored. During a database outage the run keeps its lease, and reconciliation releases it
/// later. If Postgres rejected the outcome, this counts as a failure of the run, so that it does not call the model forever.
///
/// # Errors
/// A database error.
pub(super) async fn release_or_fail(
    context: &Context,
    lease: &Lease,
    error: sqlx::Error,
) -> Result<(), sqlx::Error> {
    let failure = RunFailure::Database(error);
    let error = failure.to_string();
    match failure.disposition(lease.failures, context.settings.run.run_max_attempts) {
        Disposition::Retry(delay) => release(context, lease, Some(&error), delay).await,
        Disposition::Fail(reason) => {
            let finish = Finish {
                run_id: lease.run_id,
                token: Some(lease.token),
                final_event_seq: final_seq(lease.epoch),
                ending: Ending::Failed { reason, error },
                last_step: None,
            };
            finish_stuck_runs(context, &[finish]).await.map(drop)
        }
        Disposition::Release | Disposition::Cancel | Disposition::Drop => Ok(()),
    }
}

async fn release(
    context: &Context,
    lease: &Lease,
    error: Option<&str>,
    delay: Duration,
) -> Result<(), sqlx::Error> {
    let released = claims::release(
        &context.pool,
        lease.run_id,
        lease.token,
        error,
        delay.as_secs_f64(),
    )
    .await?;
    if let Some(queued) = released {
        context.publish_queued(&queued);
        if delay.is_zero() {
            context.notifier.notify_ready(lease.user_id, lease.run_id);
        }
    }
    Ok(())
}

/// Records a result for each pending call of a recorded step, because the run ends without making them.
async fn settle_pending_calls(
    context: &Context,
    lease: &Lease,
    progress: &RunProgress,
) -> Result<(), sqlx::Error> {
    if !progress.has_pending_calls {
        return Ok(());
    }
    let ending_run = EndingRun {
        run_id: lease.run_id,
        token: Some(lease.token),
        final_event_seq: final_seq(lease.epoch),
    };
    pending_calls::settle(&context.pool, &[ending_run]).await
}

/// Replaces the calls of the attempt by those in the journal, in the journal's order.
///
/// # Errors
/// A database error.
pub(super) async fn reload_tool_calls(
    context: &Context,
    lease: &Lease,
    progress: &mut RunProgress,
) -> Result<(), sqlx::Error> {
    progress.tool_calls = steps::calls_of(&context.pool, lease.run_id, lease.user_id).await?;
    Ok(())
}

/// Finishes a run under its lease. Retries during a database outage. Returns `None` if the lease was lost.
async fn finish(
    context: &Context,
    lease: &Lease,
    ending: Ending,
    progress: RunProgress,
) -> Result<Option<RunStatus>, sqlx::Error> {
    failpoints::hit(Failpoint::BeforeFinish);
    let started = Instant::now();
    let queue_time = lease.age();
    // Retry for up to about 15 seconds: calling the model again would cost more.
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(10)
        .with_jitter();
    let finish = Arc::new(Finish {
        run_id: lease.run_id,
        token: Some(lease.token),
        final_event_seq: final_seq(lease.epoch),
        ending,
        last_step: progress.unrecorded_step,
    });
    let finished = (|| context.finishes.write(Arc::clone(&finish)))
        .retry(backoff)
        .when(storage::is_outage)
        .await?;
    let Some(finished) = finished else {
        // A write whose answer was lost may have been committed.
        let is_ours = finish::has_ended_with(&context.pool, finish.run_id, finish.final_event_seq).await?;
        if !is_ours {
            return Ok(None);
        }
        publish_finished(context, &[finish.run_id]).await?;
        return Ok(Some(finish.ending.status()));
    };
    let persist = started.elapsed();
    observe(&context.metrics.finish_duration, persist);
    failpoints::hit(Failpoint::FinishCommitted);
    let timing = RunTiming::new(queue_time, progress.model_time, progress.tools_time, persist);
    context.notifier.publish_run_finished(&RunEnd {
        user_id: finished.user_id,
        seq: finished.final_event_seq,
        attempt: finished.attempt,
        at: finished.finished_at,
        response: response(&finished, &finish.ending, progress.tool_calls),
        timing: Some(timing),
    });
    failpoints::hit(Failpoint::FinishPublished);
    notify_next_run(context, &finished).await;
    Ok(Some(finished.status))
}

/// Publishes the ends of runs as the database has them, and notifies the next runs of their conversations.
async fn publish_finished(context: &Context, run_ids: &[Uuid]) -> Result<(), sqlx::Error> {
    let ended = runs::views(&context.pool, run_ids, true).await?;
    for end in ended.into_iter().filter_map(RunView::into_end) {
        context.notifier.publish_run_finished(&end);
        let conversation_id = end.response.conversation_id;
        if let Some(next) = finish::next_queued(&context.pool, end.user_id, conversation_id).await? {
            context.notifier.notify_ready(end.user_id, next);
        }
    }
    Ok(())
}

/// Finishes runs that no worker executes any more. Returns how many it finished.
///
/// # Errors
/// A database error.
pub(crate) async fn finish_stuck_runs(context: &Context, finishes: &[Finish]) -> Result<usize, sqlx::Error> {
    // Six statements: begin, two locks, pending calls, finish, commit.
    let done = context
        .pool
        .with_timeout(6, finish_under_locks(context, finishes))
        .await??;
    let ids: Vec<_> = done.iter().map(|run| run.run_id).collect();
    publish_finished(context, &ids).await?;
    Ok(done.len())
}

async fn finish_under_locks(context: &Context, finishes: &[Finish]) -> Result<Vec<Finished>, sqlx::Error> {
    let run_ids: Vec<_> = finishes.iter().map(|finish| finish.run_id).collect();
    let mut connection = context.pool.get().await?;
    let mut transaction = connection.begin().await?;
    // Their workers may be alive, and in the middle of a step.
    finish::lock(&mut transaction, &run_ids).await?;
    let ending_runs: Vec<_> = finishes.iter().map(EndingRun::from).collect();
    pending_calls::settle(&mut *transaction, &ending_runs).await?;
    let done = finish::finish_batch(&mut *transaction, finishes).await?;
    transaction.commit().await?;
    connection.release();
    Ok(done)
}

/// Notifies the conversation's next run. If the query fails, the notification that is due later reaches it.
async fn notify_next_run(context: &Context, finished: &Finished) {
    let Finished {
        user_id,
        conversation_id,
        ..
    } = *finished;
    let next = if finished.recheck_queue {
        let found = finish::next_queued(&context.pool, user_id, conversation_id).await;
        found.ok().flatten()
    } else {
        finished.next
    };
    if let Some(next) = next {
        context.notifier.notify_ready(user_id, next);
    }
}

fn response(finished: &Finished, ending: &Ending, tool_calls: Vec<ToolCallView>) -> ChatResponse {
    let (message, problem) = match (finished.status, ending) {
        (RunStatus::Succeeded, Ending::Succeeded { content, .. }) => (content.clone(), None),
        (RunStatus::Failed, Ending::Failed { reason, .. }) => {
            (String::new(), Some(RunProblem::failed(reason)))
        }
        _ => (String::new(), None),
    };
    ChatResponse {
        conversation_id: finished.conversation_id,
        message,
        tool_calls,
        usage: finished.usage,
        run_id: finished.run_id,
        status: finished.status,
        approvals: Vec::new(),
        problem,
    }
}
