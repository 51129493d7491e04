//! The rate limit of model requests that all workers share.

use std::time::{Duration, Instant};

use errand_devstack::Redis;
use errand_fake_model::{Behaviour, Script};
use errand_testkit::TestApp;
use futures::future::join_all;

fn one_reply_each(calls: usize) -> Script {
    Script::new().then((0..calls).map(|_| Behaviour::reply("Done.")))
}

#[tokio::test]
async fn requests_of_all_workers_share_the_limit() {
    // A burst of 10 requests, then 90 per minute.
    let mut app = TestApp::builder()
        .workers(2)
        .worker("--model-requests-per-minute=100")
        .worker("--worker-concurrency=20")
        .api("--rate-limit-chat-per-minute=0")
        .api("--max-open-runs-per-user=0")
        .start()
        .await;
    app.model.script(one_reply_each(14));
    let user = app.user("Ada").await;
    let start = Instant::now();
    let chats = join_all((0..14).map(|_| user.chat("Hello"))).await;
    assert!(chats.iter().all(|chat| chat.status == 200));
    // Four requests after the burst.
    let least = Duration::from_millis(4 * 1000 * 60 / 90 - 100);
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
    // One worker may have executed all runs.
    let mut waits = 0.0;
    for worker in [app.take_worker(), app.take_worker()] {
        let metrics = worker.metrics().await;
        let count = metrics
            .lines()
            .find_map(|line| line.strip_prefix("errand_model_limit_wait_seconds_count "));
        waits += count.unwrap().parse::<f64>().unwrap();
    }
    assert!(waits > 0.0, "no request has waited");
}

#[tokio::test]
async fn used_tokens_replace_the_estimate() {
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
    // Far less than the estimate: at least 10,000 tokens per request, each of them more than a millisecond.
    assert!(left < 10_000, "{left}");
}

#[tokio::test]
async fn run_fails_if_its_slot_is_after_its_deadline() {
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
async fn worker_limits_itself_while_redis_is_down() {
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
