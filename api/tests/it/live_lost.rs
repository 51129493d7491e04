//! Subscribers whose events are lost: Redis rejects them, or the API is killed during a reply.

use std::time::Duration;

use errand_devstack::Redis;
use errand_fake_model::{Behaviour, Options, Script};
use errand_testkit::{TestApp, eventually, kind_of, seq_of, text_of};
use serde_json::Value;

use crate::{live_socket::open, programs::Server};

/// A reply that never ends.
fn endless_words() -> Behaviour {
    Behaviour::Drip {
        chunk_every: Duration::from_millis(5),
    }
}

async fn command(app: &TestApp, words: &[&str]) -> String {
    redis::cmd(words[0])
        .arg(&words[1..])
        .query_async(&mut app.redis().await)
        .await
        .unwrap()
}

/// The number of events that the worker has tried to store in Redis.
async fn write_attempts(app: &TestApp) -> u64 {
    let stats = command(app, &["INFO", "commandstats"]).await;
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_eval:calls="))
        .and_then(|rest| rest.split_once(','));
    calls.map_or(0, |(calls, _)| calls.parse().unwrap())
}

/// Fills Redis and waits until it has rejected an event.
async fn fill(app: &TestApp) {
    command(app, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let before = write_attempts(app).await;
    // The first of them may have been sent before Redis was full.
    eventually("events are rejected", || async {
        write_attempts(app).await > before + 1
    })
    .await;
}

#[tokio::test]
async fn events_rejected_by_a_full_redis_are_sent_later() {
    let redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder().redis_url(redis.url()).start().await;
    let user = app.user("Ada").await;
    app.model.script(Script::new().when("go", [endless_words()]));
    let mut stream = user.chat_events(None, "go").await;
    let mut received = stream.until("message.delta").await;
    fill(&app).await;
    command(&app, &["CONFIG", "SET", "maxmemory", "0"]).await;
    received.extend(stream.until("message.reset").await);
    received.extend(stream.until("message.delta").await);
    let text = text_of(&received);
    assert_eq!(text.replace("drip ", ""), "", "a word was lost: {received:#?}");
    let run_id = received[0]["run_id"].as_str().unwrap();
    user.post(&format!("/runs/{run_id}/cancel"), Value::Null).await;
    received.extend(stream.rest().await);
    assert_eq!(kind_of(received.last().unwrap()), "run.cancelled");
    assert!(received.is_sorted_by_key(seq_of), "{received:#?}");
}

#[tokio::test]
async fn a_subscriber_gets_the_stored_reply_while_redis_is_full() {
    let redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder()
        .redis_url(redis.url())
        .worker("--model-timeout-ms=1500")
        .start()
        .await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("go", [endless_words(), Behaviour::reply("The whole answer.")]));
    let mut stream = user.chat_events(None, "go").await;
    let mut socket = open(&app, 0, &user).await;
    let mut received = stream.until("message.delta").await;
    let mut seen = socket.until("message.delta").await;
    fill(&app).await;
    received.extend(stream.rest().await);
    seen.extend(socket.until("run.succeeded").await);
    assert_eq!(text_of(&received), "The whole answer.", "{received:#?}");
    assert_eq!(text_of(&seen), "The whole answer.", "{seen:#?}");
    assert!(received.is_sorted_by_key(seq_of), "{received:#?}");
}

#[tokio::test]
async fn a_stream_continues_at_another_api_after_a_kill() {
    let app = TestApp::builder()
        .model(Options {
            token_delay: Duration::from_millis(15),
            ..Options::default()
        })
        .start()
        .await;
    let user = app.user("Ada").await;
    let answer = "word ".repeat(60);
    let answer = answer.trim_end();
    app.model
        .script(Script::new().when("go", [Behaviour::reply(answer)]));
    let killed_api = Server::start(&app, "info").await;
    let mut stream = user.at(killed_api.url()).chat_events(None, "go").await;
    let mut received = stream.until("message.delta").await;
    killed_api.kill().await;
    received.extend(stream.rest().await);
    assert_ne!(kind_of(received.last().unwrap()), "run.succeeded");
    let run_id = received[0]["run_id"].as_str().unwrap().parse().unwrap();
    let last = seq_of(received.last().unwrap());
    received.extend(user.events(run_id, last).await.rest().await);
    assert!(
        received.is_sorted_by(|one, next| seq_of(one) < seq_of(next)),
        "{received:#?}"
    );
    let stored = user.wait(run_id).await;
    assert_eq!(stored.text("message"), answer);
    assert_eq!(text_of(&received), answer, "{received:#?}");
    assert_eq!(received.last().unwrap()["data"]["response"], stored.body);
}
