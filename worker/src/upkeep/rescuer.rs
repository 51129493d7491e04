//! Rescues stuck runs: queues or finishes the runs of dead workers, finishes overdue runs, expires approvals, and notifies workers again of
//! runs that still wait. Every worker does this; they do not have to coordinate.

use std::sync::Arc;

use errand_shared::{
    Uuid,
    domain::events::final_seq,
    service::failpoints::{self, Failpoint},
    storage::{
        journal::approvals,
        queue::{
            rescue::{self, StuckRun},
            workers,
        },
        runs::finish::{Ending, Finish},
    },
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{context::Context, metrics::Rescue, run::finish};

/// The maximum number of runs that a query returns.
const PAGE: i64 = 500;

/// How many runs a scan has handled, by action.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ScanOutcome {
    requeued: usize,
    finished: usize,
    expired: usize,
    notified: usize,
}

/// Scans until it is dropped.
pub(crate) async fn run(context: Arc<Context>, alive_since: watch::Receiver<Option<Instant>>) {
    if cfg!(feature = "mutation-rescuer") {
        std::future::pending::<()>().await;
    }
    let mut ticks = interval(context.settings.liveness.rescue_interval_ms);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut delete_dead = interval(std::time::Duration::from_hours(1));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = delete_dead.tick() => {
                if let Err(error) = workers::delete_dead(&context.pool).await {
                    tracing::warn!(%error, "dead workers could not be removed");
                }
                continue;
            }
        }
        let since = *alive_since.borrow();
        let handled = scan(&context, since).await;
        let rescues = &context.metrics.rescues;
        for (action, runs) in [
            (Rescue::Requeued, handled.requeued),
            (Rescue::Finished, handled.finished),
            (Rescue::Expired, handled.expired),
            (Rescue::Notified, handled.notified),
        ] {
            rescues.of(action).inc_by(runs as u64);
        }
        if handled != ScanOutcome::default() {
            tracing::info!(?handled, "stuck runs handled");
        }
    }
}

/// One scan. A part that fails does not prevent the others. No worker counts as dead before this worker's own heartbeats have succeeded for
/// `WORKER_DEAD_AFTER_MS`: after a database outage every heartbeat is old, although all workers are alive.
pub(crate) async fn scan(context: &Context, alive_since: Option<Instant>) -> ScanOutcome {
    let dead_after = context.settings.liveness.worker_dead_after_ms;
    let mut handled = ScanOutcome::default();
    if alive_since.is_some_and(|since| since.elapsed() >= dead_after) {
        rescue_all(context, Cause::DeadWorker, &mut handled).await;
    }
    rescue_all(context, Cause::Overdue, &mut handled).await;
    match approvals::expire(&context.pool, PAGE).await {
        Ok(expired) => {
            handled.expired = expired.len();
            for queued in expired {
                context.publish_queued(&queued);
                context.notifier.notify_ready(queued.user_id, queued.run_id);
            }
        }
        Err(error) => tracing::warn!(%error, "expired approvals could not be read"),
    }
    match rescue::take_due_notifications(&context.pool, PAGE).await {
        Ok(due) => {
            handled.notified = due.len();
            for notice in due {
                context.notifier.notify_ready(notice.user_id, notice.run_id);
            }
        }
        Err(error) => tracing::warn!(%error, "due notifications could not be read"),
    }
    handled
}

/// Why runs are stuck.
#[derive(Clone, Copy)]
enum Cause {
    /// Their worker is dead.
    DeadWorker,
    /// Their deadline has passed, and their worker has not finished them.
    Overdue,
}

async fn find(context: &Context, cause: Cause) -> Result<Vec<StuckRun>, sqlx::Error> {
    let dead_after = context.settings.liveness.worker_dead_after_ms.as_secs_f64();
    match cause {
        Cause::DeadWorker => rescue::find_orphans(&context.pool, dead_after, PAGE).await,
        Cause::Overdue => {
            rescue::find_overdue(&context.pool, context.overdue_grace().as_secs_f64(), PAGE).await
        }
    }
}

/// Rescues page after page, while pages are full and runs are rescued.
async fn rescue_all(context: &Context, cause: Cause, handled: &mut ScanOutcome) {
    loop {
        let stuck_runs = match find(context, cause).await {
            Ok(stuck_runs) => stuck_runs,
            Err(error) => {
                tracing::warn!(%error, "stuck runs could not be read");
                return;
            }
        };
        let is_full = i64::try_from(stuck_runs.len()).is_ok_and(|found| found >= PAGE);
        let before = handled.requeued + handled.finished;
        if let Err(error) = rescue_page(context, stuck_runs, handled).await {
            tracing::warn!(%error, "stuck runs could not be rescued");
        }
        if !is_full || handled.requeued + handled.finished == before {
            return;
        }
    }
}

async fn rescue_page(
    context: &Context,
    stuck_runs: Vec<StuckRun>,
    handled: &mut ScanOutcome,
) -> Result<(), sqlx::Error> {
    let mut finishes = Vec::new();
    let (mut run_ids, mut tokens): (Vec<Uuid>, Vec<Uuid>) = (Vec::new(), Vec::new());
    for stuck in stuck_runs {
        if let Some(ending) = ending(&stuck, context.settings.run.run_max_attempts) {
            finishes.push(Finish {
                run_id: stuck.run_id,
                token: Some(stuck.token),
                final_event_seq: final_seq(stuck.epoch + 1),
                ending,
                last_step: None,
            });
        } else {
            run_ids.push(stuck.run_id);
            tokens.push(stuck.token);
        }
    }
    if !run_ids.is_empty() {
        let requeued = rescue::requeue(&context.pool, &run_ids, &tokens).await?;
        handled.requeued += requeued.len();
        if !requeued.is_empty() {
            failpoints::hit(Failpoint::Requeued);
        }
        for queued in requeued {
            context.publish_queued(&queued);
            context.notifier.notify_ready(queued.user_id, queued.run_id);
        }
    }
    if !finishes.is_empty() {
        handled.finished += finish_all(context, &finishes).await?;
    }
    Ok(())
}

/// Finishes stuck runs. If the database rejects the batch, finishes one by one: one bad run must not block the others.
async fn finish_all(context: &Context, finishes: &[Finish]) -> Result<usize, sqlx::Error> {
    match finish::finish_stuck_runs(context, finishes).await {
        Err(sqlx::Error::Database(error)) if finishes.len() > 1 => {
            tracing::warn!(%error, "a batch of stuck runs was rejected; finishing one by one");
            let mut ended = 0;
            for finish in finishes {
                match finish::finish_stuck_runs(context, std::slice::from_ref(finish)).await {
                    Ok(one) => ended += one,
                    Err(error) => {
                        tracing::error!(run.id = %finish.run_id, %error, "a stuck run could not be finished");
                    }
                }
            }
            Ok(ended)
        }
        done => done,
    }
}

/// How a stuck run ends, or `None` if it must be queued again.
fn ending(stuck: &StuckRun, max_attempts: i32) -> Option<Ending> {
    if stuck.cancel_requested {
        return Some(Ending::Cancelled);
    }
    if stuck.overdue {
        return Some(Ending::Failed {
            reason: "the run took too long".to_owned(),
            error: "past its deadline".to_owned(),
        });
    }
    (stuck.rescues + 1 >= max_attempts).then(|| Ending::Failed {
        reason: "the worker executing the run died repeatedly".to_owned(),
        error: format!("{} workers died while executing the run", stuck.rescues + 1),
    })
}
