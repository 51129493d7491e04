//! Removes what its admins do not want to keep any longer, batch by batch, with pauses for everybody else.
//!
//! Any number of workers may do it at once. It knows nothing of runs that are open.

use std::{sync::Arc, time::Duration};

use errand_shared::{Uuid, domain::clock::first_id_at, storage::retention};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::context::Context;

/// Rows, or journals, of one batch.
const BATCH: i64 = 500;
/// Between two batches: others wait for a batch's locks and share the disk with it.
const PAUSE: Duration = Duration::from_millis(50);

/// What a pass has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    journals: i64,
    keys: u64,
    tokens: u64,
}

/// Passes for ever.
pub(crate) async fn run(context: Arc<Context>) {
    let every = context.settings.retention.retention_interval_seconds;
    // Workers that start together do not all begin at the same time.
    let first = every.mul_f64(share_of(context.worker_id));
    let mut ticks = interval_at(Instant::now() + first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match pass(&context).await {
            Ok(removed) if removed == Removed::default() => {}
            Ok(removed) => tracing::info!(?removed, "what was kept long enough has been removed"),
            Err(error) => tracing::warn!(%error, "what is old could not be removed; the next pass goes on"),
        }
    }
}

/// A number from 0 to 1 that another worker does not have: the end of an id is random.
fn share_of(id: Uuid) -> f64 {
    let end = u16::try_from(id.as_u128() & u128::from(u16::MAX)).unwrap_or_default();
    f64::from(end) / f64::from(u16::MAX)
}

/// One pass over everything that is old by now.
async fn pass(context: &Context) -> Result<Removed, sqlx::Error> {
    let settings = &context.settings.retention;
    let mut removed = Removed::default();
    if settings.retention_journal_days > 0 {
        removed.journals = drop_journals(context, settings.retention_journal_days).await?;
    }
    if settings.retention_keys_hours > 0 {
        removed.keys = forget_keys(context, settings.retention_keys_hours).await?;
    }
    removed.tokens = all_of(|| retention::delete_expired_tokens(&context.pool, BATCH)).await?;
    Ok(removed)
}

async fn drop_journals(context: &Context, days: u16) -> Result<i64, sqlx::Error> {
    // A run's id is older than its end.
    let before = first_id_at(context.clock.now() - Duration::from_hours(24 * u64::from(days)));
    let mut after = Uuid::nil();
    let mut dropped = 0;
    loop {
        let batch = retention::drop_journals(&context.pool, after, before, days.into(), BATCH).await?;
        dropped += batch.runs;
        let Some(last) = batch.last else {
            return Ok(dropped);
        };
        after = last;
        sleep(PAUSE).await;
    }
}

async fn forget_keys(context: &Context, hours: u16) -> Result<u64, sqlx::Error> {
    let before = first_id_at(context.clock.now() - Duration::from_hours(hours.into()));
    let with_runs = all_of(|| retention::delete_keys(&context.pool, before, hours.into(), BATCH)).await?;
    let without = all_of(|| retention::delete_keys_without_run(&context.pool, hours.into(), BATCH)).await?;
    Ok(with_runs + without)
}

/// Takes batches until one is not full.
async fn all_of<F: Future<Output = Result<u64, sqlx::Error>>>(
    mut batch: impl FnMut() -> F,
) -> Result<u64, sqlx::Error> {
    let mut all = 0;
    loop {
        let removed = batch().await?;
        all += removed;
        if removed < BATCH.unsigned_abs() {
            return Ok(all);
        }
        sleep(PAUSE).await;
    }
}
