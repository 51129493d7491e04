//! The limit on what all workers together ask of the model.

use std::time::{Duration, Instant};

use errand_devstack::Redis;
use errand_fake_model::{Behaviour, Script};
use errand_testkit::TestApp;
use futures::future::join_all;

/// When the model was asked, in order.
fn one_reply_each(calls: usize) -> Script {
    Script::new().then((0..calls).map(|_| Behaviour::reply("Done.")))
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_for_their_place_whichever_worker_makes_them() {
    // Twelve at once, then one in some 55 ms.
    let app = TestApp::builder()
        .workers(2)
        .worker("--model-requests-per-minute=1200")
        .worker("--worker-concurrency=20")
        .api("--rate-limit-chat-per-minute=0")
        .api("--max-open-runs-per-user=0")
        .start()
        .await;
    app.model.script(one_reply_each(200));
    let user = app.user("Ada").await;
    let began = Instant::now();
    let chats = join_all((0..150).map(|_| user.chat("Hello"))).await;
    assert!(chats.iter().all(|chat| chat.status == 200));
    // 120 at once, and 30 more at 1080 a minute.
    let least = Duration::from_millis(30 * 1000 * 60 / 1080 - 100);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    let metrics = app.worker_metrics().await;
    let waits = metrics
        .lines()
        .find_map(|line| line.strip_prefix("errand_model_limit_wait_seconds_count "));
    assert!(waits.unwrap().parse::<f64>().unwrap() > 0.0, "{metrics}");
}

#[tokio::test]
async fn what_a_call_has_taken_of_the_tokens_holds_up_the_next() {
    let app = TestApp::builder()
        .worker("--model-tokens-per-minute=60000")
        .worker("--openai-max-tokens=20000")
        .start()
        .await;
    app.model.script(one_reply_each(10));
    let user = app.user("Ada").await;
    for _ in 0..3 {
        assert_eq!(user.chat("Hello").await.status, 200);
    }
    let mut redis = app.redis().await;
    let key = app.ready_key().replace("ready", "limit:tokens");
    let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut redis).await.unwrap();
    // Far less than what was thought: 10,000 tokens and more a call, each a bit more than a millisecond.
    assert!(left < 10_000, "{left}");
}

#[tokio::test]
async fn a_run_whose_turn_would_come_too_late_fails_and_takes_nobodys_place() {
    let app = TestApp::builder()
        .worker("--model-requests-per-minute=1")
        .worker("--run-deadline-seconds=5")
        .start()
        .await;
    app.model.script(one_reply_each(10));
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Hello").await.status, 200);
    let late = user.chat("Hello").await;
    assert_eq!(late.status, 502, "{}", late.body);
    assert!(late.text("detail").contains("took too long"), "{}", late.body);
}

#[tokio::test]
async fn without_redis_a_worker_goes_on_with_its_share() {
    let mut redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder()
        .redis_url(redis.url())
        .worker("--model-requests-per-minute=600")
        .api("--wait-sweep-ms=20")
        .start()
        .await;
    app.model.script(one_reply_each(10));
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Hello").await.status, 200);
    redis.stop().await.unwrap();
    assert_eq!(user.chat("Hello").await.status, 200);
    let metrics = app.worker_metrics().await;
    let fallbacks = metrics
        .lines()
        .find_map(|line| line.strip_prefix("errand_model_limit_fallbacks_total "));
    assert_eq!(fallbacks, Some("1"));
}
