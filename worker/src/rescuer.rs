//! Takes up what dead workers held, ends what is overdue, rings again for what waits. Any worker may sweep at any time.

use std::sync::Arc;

use errand_shared::{
    Uuid,
    db::{
        finishes::{Ending, Finish},
        rescue::{self, Stray},
        workers,
    },
    run::EVENTS_PER_EPOCH,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{context::Context, finisher};

/// Runs handled in one sweep, at most; the next sweep goes on.
const SWEEP: i64 = 500;

/// What became of the runs that a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    requeued: usize,
    ended: usize,
    rung: usize,
}

/// Sweeps for ever.
pub(crate) async fn run(context: Arc<Context>, good_since: watch::Receiver<Option<Instant>>) {
    let mut ticks = interval(context.settings.liveness.rescue_interval_ms);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut forget = interval(std::time::Duration::from_hours(1));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = forget.tick() => {
                if let Err(error) = workers::forget_dead(&context.pool).await {
                    tracing::warn!(%error, "dead workers could not be struck off");
                }
                continue;
            }
        }
        let since = *good_since.borrow();
        match sweep(&context, since).await {
            Ok(swept) if swept == Swept::default() => {}
            Ok(swept) => tracing::info!(?swept, "the rescuer swept"),
            Err(error) => tracing::warn!(%error, "the rescuer could not sweep"),
        }
    }
}

/// One sweep. Nobody is judged before this worker's own heartbeat has been good for one dead-after period: after an
/// outage of Postgres every heartbeat is old, and all are alive.
pub(crate) async fn sweep(context: &Context, good_since: Option<Instant>) -> Result<Swept, sqlx::Error> {
    let dead_after = context.settings.liveness.worker_dead_after_ms;
    let mut swept = Swept::default();
    if good_since.is_some_and(|since| since.elapsed() >= dead_after) {
        let orphans = rescue::find_orphans(&context.pool, dead_after.as_secs_f64(), SWEEP).await?;
        settle(context, orphans, &mut swept).await?;
    }
    let overdue = rescue::find_overdue(&context.pool, context.overdue_grace().as_secs_f64(), SWEEP).await?;
    settle(context, overdue, &mut swept).await?;
    let due = rescue::take_due_bells(&context.pool, SWEEP).await?;
    swept.rung = due.len();
    for run_id in due {
        context.notifier.ring(run_id);
    }
    Ok(swept)
}

async fn settle(context: &Context, strays: Vec<Stray>, swept: &mut Swept) -> Result<(), sqlx::Error> {
    let mut finishes = Vec::new();
    let (mut run_ids, mut tokens): (Vec<Uuid>, Vec<Uuid>) = (Vec::new(), Vec::new());
    for stray in strays {
        if let Some(ending) = ending(&stray, context.settings.run.run_max_attempts) {
            finishes.push(Finish {
                run_id: stray.run_id,
                token: Some(stray.token),
                final_event_seq: (i64::from(stray.epoch) + 1) * EVENTS_PER_EPOCH + 1,
                ending,
                last_step: None,
            });
        } else {
            run_ids.push(stray.run_id);
            tokens.push(stray.token);
        }
    }
    if !finishes.is_empty() {
        swept.ended += finisher::finish_strays(context, &finishes).await?;
    }
    if !run_ids.is_empty() {
        let requeued = rescue::requeue(&context.pool, &run_ids, &tokens).await?;
        swept.requeued += requeued.len();
        for run_id in requeued {
            context.notifier.ring(run_id);
        }
    }
    Ok(())
}

/// How a stray run ends, or none if it is to be tried again.
fn ending(stray: &Stray, max_attempts: i32) -> Option<Ending> {
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
