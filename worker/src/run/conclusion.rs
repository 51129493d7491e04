//! What becomes of a run that is not driven any more: it is ended, handed back or dropped.

use std::time::Duration;

use errand_shared::{
    domain::{events::final_seq, run::RunStatus},
    storage::{
        queue::claims::{self, Lease},
        runs::finish::{Ending, Finish},
    },
};
use tracing::Instrument;

use super::{
    driver::{Drive, Driven},
    failure::{Disposition, RunFailure},
    finish::{self, Spent},
};
use crate::{context::Context, metrics::Attempt};

/// Ends the run, hands it back or drops it.
pub(super) async fn conclude(
    context: &Context,
    lease: &Lease,
    mut drive: Drive<'_>,
    driven: Result<Driven, RunFailure>,
) -> Result<Attempt, sqlx::Error> {
    #[cfg(feature = "mutation-fence")]
    let lease = &errand_shared::storage::mutation::unfenced(&context.pool, lease).await;
    let ending = match driven {
        Ok(Driven::Ended(ending)) => ending,
        Ok(Driven::Parked) => return Ok(Attempt::Parked),
        Err(failure) => {
            let disposition = failure.disposition(lease.failures, context.settings.run.run_max_attempts);
            tracing::warn!(run.id = %lease.run_id, run.attempt = lease.attempt, %failure, ?disposition, "an attempt ended");
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
                    drive.close_left().await?;
                    // The step that told of the cancel was committed with its calls; read them back for the answer.
                    drive.read_back().await?;
                    Ending::Cancelled
                }
                Disposition::Fail(reason) => {
                    drive.close_left().await?;
                    // Without a reply nothing else shows that a crash of Postgres has lost a step.
                    if drive.is_left || !drive.tool_calls.is_empty() {
                        drive.read_back().await?;
                    }
                    Ending::Failed {
                        reason,
                        error: failure.to_string(),
                    }
                }
            }
        }
    };
    let finish = Finish {
        run_id: lease.run_id,
        token: Some(lease.token),
        final_event_seq: final_seq(lease.epoch),
        ending,
        last_step: drive.open_step,
    };
    let spent = Spent {
        queue: lease.age(),
        model: drive.model,
        tools: drive.tools,
    };
    let ended = finish::finish(context, finish, drive.tool_calls, spent)
        .instrument(errand_shared::trace!("finish"))
        .await?;
    Ok(match ended {
        Some(RunStatus::Succeeded) => Attempt::Succeeded,
        Some(RunStatus::Cancelled) => Attempt::Cancelled,
        Some(_) => Attempt::Failed,
        None => {
            tracing::warn!(run.id = %lease.run_id, "the lease was lost before the end");
            Attempt::Lost
        }
    })
}

/// What becomes of a run whose conclusion Postgres did not take: with Postgres away it is left to reconciliation; what
/// Postgres refused counts as a fault of the run, so that it does not ask the model for ever.
pub(super) async fn give_up(context: &Context, lease: &Lease, error: sqlx::Error) -> Result<(), sqlx::Error> {
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
            finish::finish_strays(context, &[finish]).await.map(drop)
        }
        Disposition::Release | Disposition::Cancel | Disposition::Drop => Ok(()),
    }
}

async fn release(
    context: &Context,
    lease: &Lease,
    failed: Option<&str>,
    delay: Duration,
) -> Result<(), sqlx::Error> {
    let released = claims::release(
        &context.pool,
        lease.run_id,
        lease.token,
        failed,
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
