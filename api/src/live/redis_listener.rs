//! Receives from Redis: the ends of runs for waiting requests, and the events of users with subscribers.
//!
//! All channels share one connection, so messages arrive in the order in which a worker published them.

use std::collections::HashSet;

use errand_shared::{
    Uuid,
    signals::{event_log, redis_client::RedisClient, run_finished::RunFinished, wire::AwaitingApproval},
};
use futures::StreamExt;
use redis::{
    Msg, RedisError,
    aio::{PubSub, PubSubSink},
};

use super::{
    event::LiveEvent,
    subscribers::{Delivery, Subscribers},
};
use crate::chat::waiter::Waiter;

/// At most this many channels are subscribed in one command.
const PAGE: usize = 500;

/// Listens until the future is dropped.
pub(crate) async fn listen(waiter: Waiter, subscribers: Subscribers, redis: RedisClient) {
    let (waiter, subscribers, redis) = (&waiter, &subscribers, &redis);
    redis
        .subscribe_forever(
            "run events",
            |connection| receive(waiter, subscribers, redis, connection),
            || {
                subscribers.mark_disconnected();
                waiter.set_disconnected()
            },
        )
        .await;
}

async fn receive(
    waiter: &Waiter,
    subscribers: &Subscribers,
    redis: &RedisClient,
    connection: PubSub,
) -> Result<(), RedisError> {
    let (mut sink, mut messages) = connection.split();
    let (finished, awaiting_approval) = (redis.finished_channel(), redis.awaiting_approval_channel());
    redis
        .with_timeout(sink.subscribe(&[&finished, &awaiting_approval]))
        .await?;
    waiter.set_connected();
    let receiving = async {
        while let Some(message) = messages.next().await {
            if message.get_channel_name() == finished {
                on_run_finished(waiter, subscribers, &message);
            } else if message.get_channel_name() == awaiting_approval {
                if let Some(notice) = AwaitingApproval::decode(message.get_payload_bytes()) {
                    waiter.report_awaiting_approval(notice.run_id, notice.epoch);
                }
            } else {
                on_event(subscribers, &message);
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = receiving => ended,
        error = keep_subscribed(subscribers, redis, &mut sink) => error,
    }
}

/// Keeps the connection subscribed to the channels of exactly those users who have subscribers in this process.
async fn keep_subscribed(
    subscribers: &Subscribers,
    redis: &RedisClient,
    sink: &mut PubSubSink,
) -> Result<(), RedisError> {
    let mut subscribed = HashSet::new();
    loop {
        let changes = subscribers.take_changes(&mut subscribed);
        let names =
            |users: &[Uuid]| -> Vec<_> { users.iter().map(|user| redis.user_channel(*user)).collect() };
        for page in changes.subscribe.chunks(PAGE) {
            redis.with_timeout(sink.subscribe(names(page))).await?;
            subscribers.mark_connected(page);
            // A subscriber may have read the current state before the channel was active.
            subscribers.resync(page);
        }
        for page in changes.unsubscribe.chunks(PAGE) {
            redis.with_timeout(sink.unsubscribe(names(page))).await?;
        }
        subscribers.wait_for_changes().await;
    }
}

fn on_event(subscribers: &Subscribers, message: &Msg) {
    let user_id = message
        .get_channel_name()
        .rsplit_once(':')
        .and_then(|(_, id)| Uuid::try_parse(id).ok());
    if let Some(user_id) = user_id
        && let Some((run_id, seq, event)) = event_log::decode(message.get_payload_bytes())
        && let Some(event) = LiveEvent::from_wire(run_id, seq, event)
    {
        subscribers.deliver(user_id, Delivery::Event(event));
    }
}

/// Parses the message only if a request waits for the run or the user has subscribers.
fn on_run_finished(waiter: &Waiter, subscribers: &Subscribers, message: &Msg) {
    let Some(finished) = RunFinished::decode(message.get_payload_bytes()) else {
        return;
    };
    if !waiter.has(finished.run_id) && !subscribers.has(finished.user_id) {
        return;
    }
    match finished.parse() {
        Ok(end) => waiter.report_finished(end),
        Err(error) => tracing::warn!(%error, run.id = %finished.run_id, "cannot parse the end of a run"),
    }
}
