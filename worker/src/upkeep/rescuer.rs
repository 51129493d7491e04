//! Takes up what dead workers held, ends what is overdue, rings again for what waits. Any worker may sweep at any time.

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

/// Runs read at once, at most.
const PAGE: i64 = 500;

/// What became of the runs that a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    requeued: usize,
    ended: usize,
    expired: usize,
    rung: usize,
}

/// Sweeps for ever.
pub(crate) async fn run(context: Arc<Context>, good_since: watch::Receiver<Option<Instant>>) {
    if cfg!(feature = "mutation-rescuer") {
        std::future::pending::<()>().await;
    }
    let mut ticks = interval(context.settings.liveness.rescue_interval_ms);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut forget = interval(std::time::Duration::from_hours(1));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = forget.tick() => {
                if let Err(error) = workers::delete_dead(&context.pool).await {
                    tracing::warn!(%error, "dead workers could not be struck off");
                }
                continue;
            }
        }
        let since = *good_since.borrow();
        let swept = sweep(&context, since).await;
        let rescues = &context.metrics.rescues;
        for (action, runs) in [
            (Rescue::Requeued, swept.requeued),
            (Rescue::Ended, swept.ended),
            (Rescue::Expired, swept.expired),
            (Rescue::Rung, swept.rung),
        ] {
            rescues.of(action).inc_by(runs as u64);
        }
        if swept != Swept::default() {
            tracing::info!(?swept, "the rescuer swept");
        }
    }
}

/// One sweep; a part that fails hinders no other. Nobody is judged before this worker's own heartbeat has been good for
/// one dead-after period: after an outage of Postgres every heartbeat is old, and all are alive.
pub(crate) async fn sweep(context: &Context, good_since: Option<Instant>) -> Swept {
    let dead_after = context.settings.liveness.worker_dead_after_ms;
    let mut swept = Swept::default();
    if good_since.is_some_and(|since| since.elapsed() >= dead_after) {
        settle_all(context, Strays::Orphans, &mut swept).await;
    }
    settle_all(context, Strays::Overdue, &mut swept).await;
    match approvals::expire(&context.pool, PAGE).await {
        Ok(expired) => {
            swept.expired = expired.len();
            for queued in expired {
                context.publish_queued(&queued);
                context.notifier.notify_ready(queued.user_id, queued.run_id);
            }
        }
        Err(error) => tracing::warn!(%error, "runs whose approval is due could not be read"),
    }
    match rescue::take_due_notifications(&context.pool, PAGE).await {
        Ok(due) => {
            swept.rung = due.len();
            for hint in due {
                context.notifier.notify_ready(hint.user_id, hint.run_id);
            }
        }
        Err(error) => tracing::warn!(%error, "the bells that are due could not be read"),
    }
    swept
}

/// Runs that need somebody.
#[derive(Clone, Copy)]
enum Strays {
    /// Their worker is dead.
    Orphans,
    /// Their time is over, and their worker has not ended them.
    Overdue,
}

async fn find(context: &Context, strays: Strays) -> Result<Vec<StuckRun>, sqlx::Error> {
    let dead_after = context.settings.liveness.worker_dead_after_ms.as_secs_f64();
    match strays {
        Strays::Orphans => rescue::find_orphans(&context.pool, dead_after, PAGE).await,
        Strays::Overdue => {
            rescue::find_overdue(&context.pool, context.overdue_grace().as_secs_f64(), PAGE).await
        }
    }
}

/// Settles page after page, as long as they are full and something comes of it.
async fn settle_all(context: &Context, which: Strays, swept: &mut Swept) {
    loop {
        let strays = match find(context, which).await {
            Ok(strays) => strays,
            Err(error) => {
                tracing::warn!(%error, "stray runs could not be read");
                return;
            }
        };
        let is_full = i64::try_from(strays.len()).is_ok_and(|found| found >= PAGE);
        let before = swept.requeued + swept.ended;
        if let Err(error) = settle(context, strays, swept).await {
            tracing::warn!(%error, "stray runs could not be settled");
        }
        if !is_full || swept.requeued + swept.ended == before {
            return;
        }
    }
}

async fn settle(context: &Context, strays: Vec<StuckRun>, swept: &mut Swept) -> Result<(), sqlx::Error> {
    let mut finishes = Vec::new();
    let (mut run_ids, mut tokens): (Vec<Uuid>, Vec<Uuid>) = (Vec::new(), Vec::new());
    for stray in strays {
        if let Some(ending) = ending(&stray, context.settings.run.run_max_attempts) {
            finishes.push(Finish {
                run_id: stray.run_id,
                token: Some(stray.token),
                final_event_seq: final_seq(stray.epoch + 1),
                ending,
                last_step: None,
            });
        } else {
            run_ids.push(stray.run_id);
            tokens.push(stray.token);
        }
    }
    if !run_ids.is_empty() {
        let requeued = rescue::requeue(&context.pool, &run_ids, &tokens).await?;
        swept.requeued += requeued.len();
        if !requeued.is_empty() {
            failpoints::hit(Failpoint::Requeued);
        }
        for queued in requeued {
            context.publish_queued(&queued);
            context.notifier.notify_ready(queued.user_id, queued.run_id);
        }
    }
    if !finishes.is_empty() {
        swept.ended += end(context, &finishes).await?;
    }
    Ok(())
}

/// Ends strays; one that can't be ended must not keep the others.
async fn end(context: &Context, finishes: &[Finish]) -> Result<usize, sqlx::Error> {
    match finish::finish_strays(context, finishes).await {
        Err(sqlx::Error::Database(error)) if finishes.len() > 1 => {
            tracing::warn!(%error, "a batch of strays could not be ended; ending one by one");
            let mut ended = 0;
            for finish in finishes {
                match finish::finish_strays(context, std::slice::from_ref(finish)).await {
                    Ok(one) => ended += one,
                    Err(error) => {
                        tracing::error!(run.id = %finish.run_id, %error, "a stray run can't be ended");
                    }
                }
            }
            Ok(ended)
        }
        done => done,
    }
}

/// How a stray run ends, or none if it is to be tried again.
fn ending(stray: &StuckRun, max_attempts: i32) -> Option<Ending> {
    if stray.cancel_requested {
        return Some(Ending::Cancelled);
    }
    if stray.overdue {
        return Some(Ending::Failed {
            reason: "the run took too long".to_owned(),
            error: "past its deadline".to_owned(),
        });
    }
    (stray.rescues + 1 >= max_attempts).then(|| Ending::Failed {
        reason: "the worker died under it several times over".to_owned(),
        error: format!("poison: {} workers died under it", stray.rescues + 1),
    })
}
