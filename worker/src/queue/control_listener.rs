//! Receives the commands of API processes from Redis: a user has subscribed, events must be sent again, a run is cancelled. A missed
//! command costs a delay.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use errand_shared::signals::{redis_client::RedisClient, wire::WorkerCommand};
use futures::StreamExt;
use redis::RedisError;

use super::run_registry::Interrupt;
use crate::context::Context;

const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// Listens until it is dropped. Subscribes again after each error.
pub(crate) async fn listen(context: Arc<Context>, redis: RedisClient) {
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(MAX_BACKOFF)
        .without_max_times()
        .with_jitter();
    let mut delays = backoff.build();
    loop {
        let ended = subscribe(&context, &redis).await;
        context.metrics.redis_subscribed.set(0);
        match ended {
            Ok(()) => {
                tracing::warn!("the control channel was closed; subscribing again");
                delays = backoff.build();
            }
            Err(error) => tracing::warn!(%error, "the control channel failed; subscribing again"),
        }
        tokio::time::sleep(delays.next().unwrap_or(MAX_BACKOFF)).await;
    }
}

async fn subscribe(context: &Context, redis: &RedisClient) -> Result<(), RedisError> {
    let mut subscriber = redis.subscriber().await?;
    redis
        .with_timeout(subscriber.subscribe(redis.control_channel()))
        .await?;
    context.metrics.redis_subscribed.set(1);
    // Users may have subscribed while this worker did not listen. If not, the next event of each run shows it.
    context.active_runs.mark_all_subscribed();
    let mut messages = subscriber.on_message();
    while let Some(message) = messages.next().await {
        let runs = &context.active_runs;
        match WorkerCommand::decode(message.get_payload_bytes()) {
            Some(WorkerCommand::Subscribe(user_id)) => runs.mark_subscribed(user_id),
            Some(WorkerCommand::Resend(run_id)) => runs.mark_stale(run_id),
            Some(WorkerCommand::Cancel(run_id)) => runs.interrupt_run(run_id, Interrupt::Cancelled),
            // A command of a newer version.
            None => {}
        }
    }
    Ok(())
}
