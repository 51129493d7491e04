//! The events that subscribers see when workers die or are suspended during an answer.

use std::time::Duration;

use errand_fake_model::{Behaviour, Gate, Options, Script};
use errand_shared::Uuid;
use errand_testkit::{TestApp, eventually, kind_of, kinds_of, text_of};
use futures::StreamExt;
use serde_json::Value;

use crate::scene::{process, swift};

/// Words without an end.
fn babble() -> Behaviour {
    Behaviour::Drip {
        chunk_every: Duration::from_millis(5),
    }
}

fn key(app: &TestApp, name: &str) -> String {
    app.ready_key().replace("ready", name)
}

/// Listens to a user's events as an API does.
async fn listen(app: &TestApp, user_id: Uuid) -> redis::aio::PubSub {
    let mut channel = app.subscriber().await;
    channel
        .subscribe(key(app, &format!("user:{user_id}")))
        .await
        .unwrap();
    channel
}

#[tokio::test]
async fn answer_of_a_killed_worker_is_published_once() {
    let app = swift(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("go", [babble(), Behaviour::reply("The whole answer.")]));
    let victim = process(&app, &[]).await;
    let mut stream = user.chat_events(None, "go").await;
    let mut told = stream.until("message.delta").await;
    told.extend(stream.until("message.delta").await);
    assert!(text_of(&told).starts_with("drip"), "{told:#?}");
    victim.kill().await;
    let _other = app.start_worker().await;
    told.extend(stream.rest().await);
    let expected = [
        "run.queued",
        "run.started",
        "message.delta",
        "run.queued",
        "run.started",
        "message.reset",
        "run.succeeded",
    ];
    assert_eq!(kinds_of(&told), expected, "{told:#?}");
    assert_eq!(text_of(&told), "The whole answer.");
    let attempts: Vec<_> = told.iter().map(|event| event["attempt"].as_i64()).collect();
    assert!(
        attempts.is_sorted() && attempts.last() == Some(&Some(2)),
        "{attempts:?}"
    );
    let run_id = told[0]["run_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(user.events(run_id, 0).await.rest().await[1..], told[1..]);
}

#[tokio::test]
async fn worker_suspended_past_its_lease_publishes_nothing() {
    let app = swift(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    // With its log, which the other has begun anew; and without it, when nothing in Redis knows of the other.
    for forget in [false, true] {
        app.model
            .script(Script::new().when("go", [babble(), Behaviour::reply("From the other.")]));
        let mut sleeper = process(&app, &[]).await;
        let mut stream = user.chat_events(None, "go").await;
        let mut told = stream.until("message.delta").await;
        sleeper.freeze();
        let other = app.start_worker().await;
        told.extend(stream.rest().await);
        assert_eq!(text_of(&told), "From the other.", "{told:#?}");
        other.stop().await;
        let run_id = told[0]["run_id"].as_str().unwrap();
        let mut redis = app.redis().await;
        if forget {
            let _gone: i64 = redis::cmd("DEL")
                .arg(key(&app, &format!("run:{run_id}")))
                .query_async(&mut redis)
                .await
                .unwrap();
        }
        let mut channel = listen(&app, user.id).await;
        sleeper.thaw();
        eventually("the sleeper knows that its lease is lost", || async {
            let dropped = sleeper.lines("attempt failed");
            dropped.iter().any(|line| line["failure"] == "the lease is lost")
                || !sleeper.lines("lease lost before the run was finished").is_empty()
        })
        .await;
        sleeper.terminate();
        assert_eq!(sleeper.exit_code(Duration::from_secs(20)).await, Some(0));
        // Everything that it had to say has been said.
        let heard: i64 = redis::cmd("PUBLISH")
            .arg(key(&app, &format!("user:{}", user.id)))
            .arg("the last word")
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(heard, 1);
        let first = channel.on_message().next().await.unwrap();
        assert_eq!(first.get_payload_bytes(), b"the last word", "the sleeper spoke");
        let logged: Vec<redis::Value> = redis::cmd("XRANGE")
            .arg(key(&app, &format!("run:{run_id}")))
            .arg("-")
            .arg("+")
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(logged.is_empty(), forget, "{logged:?}");
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
    let told = user.chat_events(None, "go").await.rest().await;
    assert_eq!(text_of(&told), long.trim_end());
    let deltas: Vec<_> = told
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
    // Late enough for the worker to know that there is a subscriber.
    let cut = Behaviour::DisconnectMidStream { after_chunks: 3 }.after(Duration::from_millis(200));
    app.model
        .script(Script::new().when("go", [cut, Behaviour::reply("The whole answer.")]));
    let told = user.chat_events(None, "go").await.rest().await;
    assert_eq!(text_of(&told), "The whole answer.", "{told:#?}");
    assert!(
        told.iter().any(|event| kind_of(event) == "message.reset"),
        "{told:#?}"
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
    let again = stream.next().await.unwrap();
    assert_eq!(kind_of(&again), "run.queued");
    assert_eq!(again["data"], Value::Object(serde_json::Map::new()));
    let _other = app.start_worker().await;
    assert_eq!(text_of(&stream.rest().await), "Here.");
}
