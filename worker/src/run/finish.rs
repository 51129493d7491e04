//! Ends a run: the commit, then the news, then the bell for the conversation's next run.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use errand_shared::storage::Pool;
use errand_shared::{
    Uuid,
    domain::{
        chat::{ChatResponse, RunProblem, ToolCallView},
        events::RunEnd,
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
        journal::pending_calls::{self, EndingRun},
        runs::{
            self, RunView,
            finish::{self, Ending, Finish, Finished},
        },
    },
};
use sqlx::Connection;
use tokio::time::Instant;

use crate::{context::Context, settings::WorkerSettings};

/// Ends of runs, written together when several come at once; `None` for a run whose lease is gone.
pub(crate) fn group(
    settings: &WorkerSettings,
    pool: &Pool,
    ended: &Lifecycle,
) -> GroupCommit<Arc<Finish>, Option<Finished>> {
    let pool = pool.clone();
    GroupCommit::start(
        settings.store.database_batch_max as usize,
        ended,
        move |batch: Arc<[Arc<Finish>]>| {
            let pool = pool.clone();
            async move {
                let mut ended: HashMap<_, _> = finish::finish(&pool, &batch)
                    .await?
                    .into_iter()
                    .map(|finished| ((finished.run_id, finished.final_event_seq), finished))
                    .collect();
                // By its number as well: an older lease of the same run may be in the batch.
                let key = |finish: &Finish| (finish.run_id, finish.final_event_seq);
                Ok(batch.iter().map(|finish| ended.remove(&key(finish))).collect())
            }
        },
    )
}

/// What a run has spent before its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// In the queue.
    pub(crate) queue: Duration,
    /// On the model.
    pub(crate) model: Duration,
    /// On tools.
    pub(crate) tools: Duration,
}

/// Ends a run under its lease, trying again while Postgres is away. Gives how it has ended; none if the lease was lost.
///
/// # Errors
/// The last fault of Postgres. The run is then still this worker's, and its reconciliation hands it back.
pub(crate) async fn finish(
    context: &Context,
    finish: Finish,
    tool_calls: Vec<ToolCallView>,
    spent: Spent,
) -> Result<Option<RunStatus>, sqlx::Error> {
    failpoints::hit(Failpoint::BeforeFinish);
    let began = Instant::now();
    // A reply in hand is worth some patience: asking the model again costs more.
    let patience = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(10)
        .with_jitter();
    let finish = Arc::new(finish);
    let finished = (|| context.finishes.write(Arc::clone(&finish)))
        .retry(patience)
        .when(storage::is_outage)
        .await?;
    let Some(finished) = finished else {
        // An earlier try may have been committed though its answer was lost.
        let ours = finish::has_ended_with(&context.pool, finish.run_id, finish.final_event_seq).await?;
        if !ours {
            return Ok(None);
        }
        tell_ended(context, &[finish.run_id]).await?;
        return Ok(Some(finish.ending.status()));
    };
    let persist = began.elapsed();
    observe(&context.metrics.finish_duration, persist);
    failpoints::hit(Failpoint::FinishCommitted);
    context.notifier.publish_run_finished(&RunEnd {
        user_id: finished.user_id,
        seq: finished.final_event_seq,
        attempt: finished.attempt,
        at: finished.finished_at,
        response: response(&finished, &finish.ending, tool_calls),
        timing: Some(RunTiming::new(spent.queue, spent.model, spent.tools, persist)),
    });
    failpoints::hit(Failpoint::FinishPublished);
    ring_next(context, &finished).await;
    Ok(Some(finished.status))
}

/// Tells of runs that have ended, from their rows, and rings for what comes after them.
async fn tell_ended(context: &Context, run_ids: &[Uuid]) -> Result<(), sqlx::Error> {
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

/// Ends runs that nobody drives any more. Returns those that were ended.
///
/// # Errors
/// A fault of Postgres.
pub(crate) async fn finish_strays(context: &Context, finishes: &[Finish]) -> Result<usize, sqlx::Error> {
    // Begin, two locks, what is left of steps, the finish, commit.
    let ended = context
        .pool
        .with_timeout(6, finish_under_locks(context, finishes))
        .await??;
    let ids: Vec<_> = ended.iter().map(|run| run.run_id).collect();
    tell_ended(context, &ids).await?;
    Ok(ended.len())
}

async fn finish_under_locks(context: &Context, finishes: &[Finish]) -> Result<Vec<Finished>, sqlx::Error> {
    let run_ids: Vec<_> = finishes.iter().map(|finish| finish.run_id).collect();
    let mut connection = context.pool.get().await?;
    let mut transaction = connection.begin().await?;
    // Their workers may live, and be in the middle of a step.
    finish::lock(&mut transaction, &run_ids).await?;
    let closings: Vec<_> = finishes.iter().map(EndingRun::from).collect();
    pending_calls::settle(&mut *transaction, &closings).await?;
    let ended = finish::finish_batch(&mut *transaction, finishes).await?;
    transaction.commit().await?;
    connection.release();
    Ok(ended)
}

async fn ring_next(context: &Context, finished: &Finished) {
    if let Some(next) = next_run(&context.pool, finished).await {
        context.notifier.notify_ready(finished.user_id, next);
    }
}

/// The next run of the conversation. A failed look is no loss: the bell that is due rings it.
async fn next_run(pool: &Pool, finished: &Finished) -> Option<Uuid> {
    if !finished.recheck_queue {
        return finished.next;
    }
    finish::next_queued(pool, finished.user_id, finished.conversation_id)
        .await
        .ok()
        .flatten()
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
