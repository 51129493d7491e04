//! Hears Redis: the news of ended runs for all who wait, and the events of the users who are read here.
//!
//! All of it comes over one connection, so that what a worker tells in an order is heard in that order.

use std::{collections::HashSet, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use errand_shared::{
    Uuid,
    signals::{event_log, redis_client::RedisClient, run_finished::RunFinished, wire::AwaitingApproval},
};
use futures::StreamExt;
use redis::{Msg, RedisError, aio::PubSubSink};

use super::{Delivery, LiveEvent, Subscribers};
use crate::chat::waiter::Waiter;

/// The longest wait after a fault.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Channels subscribed in one command, at most.
const PAGE: usize = 500;

/// Listens for ever.
pub(crate) async fn listen(waiter: Waiter, readers: Subscribers, redis: RedisClient) {
    let patience = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter();
    let mut pauses = patience.build();
    loop {
        match hear(&waiter, &readers, &redis).await {
            Ok(()) => tracing::warn!("the news ended; subscribing again"),
            Err(error) => tracing::warn!(%error, "the news can't be heard; subscribing again"),
        }
        if waiter.is_deaf() {
            pauses = patience.build();
        }
        readers.are_deaf();
        tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
    }
}

async fn hear(waiter: &Waiter, readers: &Subscribers, redis: &RedisClient) -> Result<(), RedisError> {
    let (mut sink, mut news) = redis.subscriber().await?.split();
    let (finals, parked) = (redis.finals_channel(), redis.parked_channel());
    redis.with_timeout(sink.subscribe(&[&finals, &parked])).await?;
    waiter.is_hearing();
    let hearing = async {
        while let Some(message) = news.next().await {
            if message.get_channel_name() == parked {
                if let Some(AwaitingApproval { run_id, epoch }) =
                    AwaitingApproval::decode(message.get_payload_bytes())
                {
                    waiter.tell_parked(run_id, epoch);
                }
                continue;
            }
            take(waiter, readers, &finals, &message);
        }
        Ok(())
    };
    tokio::select! {
        ended = hearing => ended,
        fault = keep_subscribed(readers, redis, &mut sink) => fault,
    }
}

/// Subscribes to the channels of users who are read here, and to no others.
async fn keep_subscribed(
    readers: &Subscribers,
    redis: &RedisClient,
    sink: &mut PubSubSink,
) -> Result<(), RedisError> {
    let mut subscribed = HashSet::new();
    loop {
        let changes = readers.changes(&mut subscribed);
        let names =
            |users: &[Uuid]| -> Vec<_> { users.iter().map(|user| redis.user_channel(*user)).collect() };
        for page in changes.subscribe.chunks(PAGE) {
            redis.with_timeout(sink.subscribe(names(page))).await?;
            readers.are_heard(page);
            // Who came before the channel was heard has looked, or looks, too early.
            readers.resync(page);
        }
        for page in changes.unsubscribe.chunks(PAGE) {
            redis.with_timeout(sink.unsubscribe(names(page))).await?;
        }
        readers.changed().await;
    }
}

fn take(waiter: &Waiter, readers: &Subscribers, finals: &str, message: &Msg) {
    let payload = message.get_payload_bytes();
    if message.get_channel_name() == finals {
        if let Some(news) = RunFinished::decode(payload) {
            take_final(waiter, readers, &news);
        }
        return;
    }
    let user_id = message
        .get_channel_name()
        .rsplit_once(':')
        .and_then(|(_, id)| Uuid::try_parse(id).ok());
    if let Some(user_id) = user_id
        && let Some((run_id, seq, event)) = event_log::decode(payload)
        && let Some(event) = LiveEvent::from_wire(run_id, seq, event)
    {
        readers.deliver(user_id, Delivery::Event(event));
    }
}

/// Parsed only if somebody waits for it or reads it.
fn take_final(waiter: &Waiter, readers: &Subscribers, news: &RunFinished<'_>) {
    if !waiter.has(news.run_id) && !readers.has(news.user_id) {
        return;
    }
    match news.parse() {
        Ok(end) => waiter.tell_end(end),
        Err(error) => tracing::warn!(%error, run.id = %news.run_id, "news that can't be read"),
    }
}
