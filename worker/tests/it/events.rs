//! The events that subscribers see when workers die or are suspended during an answer.

use std::time::Duration;

use errand_fake_model::{Behaviour, Gate, Options, Script};
use errand_shared::Uuid;
use errand_testkit::{TestApp, eventually, kind_of, kinds_of, text_of};
use futures::StreamExt;
use serde_json::Value;

use crate::workers::{process, with_short_timeouts};

/// A stream of text that never ends.
fn endless_text() -> Behaviour {
    Behaviour::Drip {
        chunk_every: Duration::from_millis(5),
    }
}

fn key(app: &TestApp, name: &str) -> String {
    app.ready_key().replace("ready", name)
}

/// Subscribes to a user's events as an API does.
async fn subscribe(app: &TestApp, user_id: Uuid) -> redis::aio::PubSub {
    let mut channel = app.subscriber().await;
    channel
        .subscribe(key(app, &format!("user:{user_id}")))
        .await
        .unwrap();
    channel
}

#[tokio::test]
async fn answer_of_a_killed_worker_is_published_once() {
    let app = with_short_timeouts(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("go", [endless_text(), Behaviour::reply("The whole answer.")]));
    let killed_worker = process(&app, &[]).await;
    let mut stream = user.chat_events(None, "go").await;
    let mut events = stream.until("message.delta").await;
    events.extend(stream.until("message.delta").await);
    assert!(text_of(&events).starts_with("drip"), "{events:#?}");
    killed_worker.kill().await;
    let _other = app.start_worker().await;
    events.extend(stream.rest().await);
    let expected = [
        "run.queued",
        "run.started",
        "message.delta",
        "run.queued",
        "run.started",
        "message.reset",
        "run.succeeded",
    ];
    assert_eq!(kinds_of(&events), expected, "{events:#?}");
    assert_eq!(text_of(&events), "The whole answer.");
    let attempts: Vec<_> = events.iter().map(|event| event["attempt"].as_i64()).collect();
    assert!(
        attempts.is_sorted() && attempts.last() == Some(&Some(2)),
        "{attempts:?}"
    );
    let run_id = events[0]["run_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(user.events(run_id, 0).await.rest().await[1..], events[1..]);
}

#[tokio::test]
async fn worker_suspended_past_its_lease_publishes_nothing() {
    let app = with_short_timeouts(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    // Once with the log that the other worker wrote, once with the log deleted.
    for log_deleted in [false, true] {
        app.model
            .script(Script::new().when("go", [endless_text(), Behaviour::reply("From the other.")]));
        let mut suspended = process(&app, &[]).await;
        let mut stream = user.chat_events(None, "go").await;
        let mut events = stream.until("message.delta").await;
        suspended.freeze();
        let other = app.start_worker().await;
        events.extend(stream.rest().await);
        assert_eq!(text_of(&events), "From the other.", "{events:#?}");
        other.stop().await;
        let run_id = events[0]["run_id"].as_str().unwrap();
        let mut redis = app.redis().await;
        if log_deleted {
            let _deleted: i64 = redis::cmd("DEL")
                .arg(key(&app, &format!("run:{run_id}")))
                .query_async(&mut redis)
                .await
                .unwrap();
        }
        let mut channel = subscribe(&app, user.id).await;
        suspended.thaw();
        eventually("the worker knows that its lease is lost", || async {
            let dropped = suspended.lines("attempt failed");
            dropped.iter().any(|line| line["failure"] == "the lease is lost")
                || !suspended
                    .lines("lease lost before the run was finished")
                    .is_empty()
        })
        .await;
        suspended.terminate();
        assert_eq!(suspended.exit_code(Duration::from_secs(20)).await, Some(0));
        // The suspended worker has published everything it will publish.
        let subscribers: i64 = redis::cmd("PUBLISH")
            .arg(key(&app, &format!("user:{}", user.id)))
            .arg("the last message")
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(subscribers, 1);
        let first = channel.on_message().next().await.unwrap();
        assert_eq!(
            first.get_payload_bytes(),
            b"the last message",
            "the suspended worker published an event"
        );
        let logged: Vec<redis::Value> = redis::cmd("XRANGE")
            .arg(key(&app, &format!("run:{run_id}")))
            .arg("-")
            .arg("+")
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(logged.is_empty(), log_deleted, "{logged:?}");
    }
}

#[tokio::test]
async fn first_words_are_published_immediately_and_later_ones_in_batches() {
    let app = TestApp::builder()
        .worker("--delta-interval-ms=200")
        .model(Options {
            token_delay: Duration::from_millis(5),
            ..Options::default()
        })
        .start()
        .await;
    let user = app.user("Ada").await;
    let long = "word ".repeat(100);
    app.model
        .script(Script::always(Behaviour::reply(long.trim_end())));
    let events = user.chat_events(None, "go").await.rest().await;
    assert_eq!(text_of(&events), long.trim_end());
    let deltas: Vec<_> = events
        .iter()
        .filter(|event| kind_of(event) == "message.delta")
        .collect();
    let first = deltas[0]["data"]["text"].as_str().unwrap();
    assert!(first.len() <= 10, "{first:?}");
    assert!(
        (2..20).contains(&deltas.len()),
        "{} deltas for 100 words",
        deltas.len()
    );
}

#[tokio::test]
async fn retried_model_call_is_published_from_its_start() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    // By then the worker knows that there is a subscriber.
    let interrupted = Behaviour::DisconnectMidStream { after_chunks: 3 }.after(Duration::from_millis(200));
    app.model
        .script(Script::new().when("go", [interrupted, Behaviour::reply("The whole answer.")]));
    let events = user.chat_events(None, "go").await.rest().await;
    assert_eq!(text_of(&events), "The whole answer.", "{events:#?}");
    assert!(
        events.iter().any(|event| kind_of(event) == "message.reset"),
        "{events:#?}"
    );
}

#[tokio::test]
async fn released_run_publishes_that_it_is_queued() {
    let app = TestApp::builder()
        .workers(0)
        .worker("--shutdown-grace-seconds=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("go", [Behaviour::Hang.behind(&gate), Behaviour::reply("Here.")]));
    let stopping = app.start_worker().await;
    let mut stream = user.chat_events(None, "go").await;
    stream.until("run.started").await;
    gate.wait_arrived(1).await;
    stopping.stop().await;
    let queued = stream.next().await.unwrap();
    assert_eq!(kind_of(&queued), "run.queued");
    assert_eq!(queued["data"], Value::Object(serde_json::Map::new()));
    let _other = app.start_worker().await;
    assert_eq!(text_of(&stream.rest().await), "Here.");
}
