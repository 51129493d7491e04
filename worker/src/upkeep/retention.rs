//! Deletes data whose retention period is over, in small batches with pauses, so that other queries are not delayed.
//!
//! Several workers may do this at the same time. Data of open runs is not touched.

use std::{sync::Arc, time::Duration};

use errand_shared::{Uuid, domain::clock::first_id_at, storage::retention};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::context::Context;

/// The maximum number of rows, or of runs' journals, in a batch.
const BATCH: i64 = 500;
/// The pause between batches. Other queries wait for a batch's locks and share the disk with it.
const PAUSE: Duration = Duration::from_millis(50);

/// How many rows a pass has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    journals: i64,
    keys: u64,
    tokens: u64,
}

/// Makes a pass every interval, until it is dropped.
pub(crate) async fn run(context: Arc<Context>) {
    let every = context.settings.retention.retention_interval_seconds;
    // Spreads the passes of workers that start at the same time.
    let first = every.mul_f64(fraction_of(context.worker_id));
    let mut ticks = interval_at(Instant::now() + first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match pass(&context).await {
            Ok(removed) if removed == Removed::default() => {}
            Ok(removed) => tracing::info!(?removed, "old data deleted"),
            Err(error) => tracing::warn!(%error, "old data could not be deleted; retrying in the next pass"),
        }
    }
}

/// A number from 0 to 1, different for each worker. The end of an id is random.
fn fraction_of(id: Uuid) -> f64 {
    let end = u16::try_from(id.as_u128() & u128::from(u16::MAX)).unwrap_or_default();
    f64::from(end) / f64::from(u16::MAX)
}

/// Deletes everything that is old by now.
async fn pass(context: &Context) -> Result<Removed, sqlx::Error> {
    let settings = &context.settings.retention;
    let mut removed = Removed::default();
    if settings.retention_journal_days > 0 {
        removed.journals = delete_journals(context, settings.retention_journal_days).await?;
    }
    if settings.retention_keys_hours > 0 {
        removed.keys = delete_keys(context, settings.retention_keys_hours).await?;
    }
    removed.tokens = in_batches(|| retention::delete_expired_tokens(&context.pool, BATCH)).await?;
    Ok(removed)
}

async fn delete_journals(context: &Context, days: u16) -> Result<i64, sqlx::Error> {
    // A run is created before it ends, so a run with a newer id can't be old enough.
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

async fn delete_keys(context: &Context, hours: u16) -> Result<u64, sqlx::Error> {
    let before = first_id_at(context.clock.now() - Duration::from_hours(hours.into()));
    let with_runs = in_batches(|| retention::delete_keys(&context.pool, before, hours.into(), BATCH)).await?;
    let without =
        in_batches(|| retention::delete_keys_without_run(&context.pool, hours.into(), BATCH)).await?;
    Ok(with_runs + without)
}

/// Runs batches until one is not full.
async fn in_batches<F: Future<Output = Result<u64, sqlx::Error>>>(
    mut batch: impl FnMut() -> F,
) -> Result<u64, sqlx::Error> {
    let mut total = 0;
    loop {
        let removed = batch().await?;
        total += removed;
        if removed < BATCH.unsigned_abs() {
            return Ok(total);
        }
        sleep(PAUSE).await;
    }
}
