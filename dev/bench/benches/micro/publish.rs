//! Measures how long it takes to publish 1,000 events, until a subscriber has received the last one.
#![expect(
    clippy::expect_used,
    reason = "a benchmark without its services can only fail"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use errand_devstack::Redis;
use errand_shared::{
    Uuid,
    domain::events::{Event, EventData, started_seq},
    service::{config::RedisSettings, lifecycle::Lifecycle},
    signals::{
        delivery::DeliveryState,
        notifier::{EventSource, Notifier},
        redis_client::RedisClient,
    },
};
use futures::StreamExt;
use tokio::runtime::Runtime;

const EVENTS: u64 = 1000;

fn redis_settings(url: &str) -> RedisSettings {
    RedisSettings {
        redis_url: url.parse().expect("a URL"),
        redis_prefix: "micro:".to_owned(),
        redis_timeout_ms: Duration::from_secs(5),
    }
}

pub(crate) fn measure(criterion: &mut Criterion, runtime: &Runtime) {
    let lifecycle = Lifecycle::new();
    let (redis, client, notifier) = runtime.block_on(async {
        let redis = Redis::ephemeral().await.expect("Redis");
        let client = RedisClient::new(&redis_settings(&redis.url())).expect("a client");
        let notifier = Notifier::start(client.clone(), &lifecycle);
        (redis, client, notifier)
    });
    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("1,000 events", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let source = EventSource {
                    user_id: Uuid::now_v7(),
                    delivery: Arc::<DeliveryState>::default(),
                };
                let mut events = client.subscriber().await.expect("a subscription");
                events
                    .subscribe(client.user_channel(source.user_id))
                    .await
                    .expect("a subscription");
                let mut events = events.into_on_message();
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let run_id = Uuid::now_v7();
                    let began = Instant::now();
                    for number in 0..i64::try_from(EVENTS).expect("few") {
                        let event = Event {
                            seq: started_seq(1) + number,
                            run_id,
                            conversation_id: run_id,
                            attempt: 1,
                            at: chrono::DateTime::UNIX_EPOCH,
                            data: EventData::Delta {
                                text: "some words of an answer".into(),
                            },
                        };
                        notifier.publish(&source, &event, number == 0);
                    }
                    for _ in 0..EVENTS {
                        events.next().await.expect("an event");
                    }
                    took += began.elapsed();
                }
                took
            })
        });
    });
    group.finish();
    notifier.close();
    runtime.block_on(async move { drop(redis) });
}
