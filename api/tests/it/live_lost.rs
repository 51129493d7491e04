//! Readers whose events are lost on their way: Redis takes none, or their API is killed in the middle of an answer.

use std::time::Duration;

use errand_devstack::Redis;
use errand_fake_model::{Behaviour, Options, Script};
use errand_testkit::{TestApp, eventually, kind_of, seq_of, text_of};
use serde_json::Value;

use crate::{live_socket::open, programs::Server};

/// Words without an end.
fn babble() -> Behaviour {
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

/// How many events Redis has been asked to take.
async fn asked(app: &TestApp) -> u64 {
    let stats = command(app, &["INFO", "commandstats"]).await;
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_eval:calls="))
        .and_then(|rest| rest.split_once(','));
    calls.map_or(0, |(calls, _)| calls.parse().unwrap())
}

/// Redis takes nothing more, and has said so to whoever tells events.
async fn fill(app: &TestApp) {
    command(app, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let before = asked(app).await;
    // The first of them may have been on its way before.
    eventually("events are refused", || async { asked(app).await > before + 1 }).await;
}

#[tokio::test]
async fn what_a_full_redis_has_refused_is_told_once_there_is_room() {
    let redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder().redis_url(redis.url()).start().await;
    let user = app.user("Ada").await;
    app.model.script(Script::new().when("go", [babble()]));
    let mut stream = user.chat_events(None, "go").await;
    let mut told = stream.until("message.delta").await;
    fill(&app).await;
    command(&app, &["CONFIG", "SET", "maxmemory", "0"]).await;
    told.extend(stream.until("message.reset").await);
    told.extend(stream.until("message.delta").await);
    let text = text_of(&told);
    assert_eq!(text.replace("drip ", ""), "", "a word was lost: {told:#?}");
    let run_id = told[0]["run_id"].as_str().unwrap();
    user.post(&format!("/runs/{run_id}/cancel"), Value::Null).await;
    told.extend(stream.rest().await);
    assert_eq!(kind_of(told.last().unwrap()), "run.cancelled");
    assert!(told.is_sorted_by_key(seq_of), "{told:#?}");
}

#[tokio::test]
async fn with_redis_full_to_the_end_a_reader_has_the_stored_text_all_the_same() {
    let redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder()
        .redis_url(redis.url())
        .worker("--model-timeout-ms=1500")
        .start()
        .await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("go", [babble(), Behaviour::reply("The whole answer.")]));
    let mut stream = user.chat_events(None, "go").await;
    let mut socket = open(&app, 0, &user).await;
    let mut told = stream.until("message.delta").await;
    let mut seen = socket.until("message.delta").await;
    fill(&app).await;
    told.extend(stream.rest().await);
    seen.extend(socket.until("run.succeeded").await);
    assert_eq!(text_of(&told), "The whole answer.", "{told:#?}");
    assert_eq!(text_of(&seen), "The whole answer.", "{seen:#?}");
    assert!(told.is_sorted_by_key(seq_of), "{told:#?}");
}

#[tokio::test]
async fn a_stream_whose_api_is_killed_is_gone_on_with_at_another() {
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
    let victim = Server::start(&app, "info").await;
    let mut stream = user.at(victim.url()).chat_events(None, "go").await;
    let mut told = stream.until("message.delta").await;
    victim.kill().await;
    told.extend(stream.rest().await);
    assert_ne!(kind_of(told.last().unwrap()), "run.succeeded");
    let run_id = told[0]["run_id"].as_str().unwrap().parse().unwrap();
    let last = seq_of(told.last().unwrap());
    told.extend(user.events(run_id, last).await.rest().await);
    assert!(
        told.is_sorted_by(|one, next| seq_of(one) < seq_of(next)),
        "{told:#?}"
    );
    let stored = user.wait(run_id).await;
    assert_eq!(stored.text("message"), answer);
    assert_eq!(text_of(&told), answer, "{told:#?}");
    assert_eq!(told.last().unwrap()["data"]["response"], stored.body);
}
