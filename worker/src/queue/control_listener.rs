//! Hears what APIs call out: who is read, who is to be cancelled. A call that is missed costs a delay.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use errand_shared::signals::{redis_client::RedisClient, wire::WorkerCommand};
use futures::StreamExt;
use redis::RedisError;

use super::run_registry::Interrupt;
use crate::context::Context;

/// The longest wait after a fault.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Listens for ever.
pub(crate) async fn listen(context: Arc<Context>, redis: RedisClient) {
    let patience = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter();
    let mut pauses = patience.build();
    loop {
        let heard = hear(&context, &redis).await;
        context.metrics.listening.set(0);
        match heard {
            Ok(()) => {
                tracing::warn!("the APIs' calls ended; subscribing again");
                pauses = patience.build();
            }
            Err(error) => tracing::warn!(%error, "the APIs' calls can't be heard; subscribing again"),
        }
        tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
    }
}

async fn hear(context: &Context, redis: &RedisClient) -> Result<(), RedisError> {
    let mut subscriber = redis.subscriber().await?;
    redis
        .with_timeout(subscriber.subscribe(redis.control_channel()))
        .await?;
    context.metrics.listening.set(1);
    // Somebody may have begun to read while nobody listened; if not, the next event of each run finds that out.
    context.in_flight.watch_all();
    let mut calls = subscriber.on_message();
    while let Some(message) = calls.next().await {
        let in_flight = &context.in_flight;
        match WorkerCommand::decode(message.get_payload_bytes()) {
            Some(WorkerCommand::Subscribe(user_id)) => in_flight.watch(user_id),
            Some(WorkerCommand::Resend(run_id)) => in_flight.retell(run_id),
            Some(WorkerCommand::Cancel(run_id)) => in_flight.interrupt_run(run_id, Interrupt::Cancelled),
            // Of a newer program.
            None => {}
        }
    }
    Ok(())
}
