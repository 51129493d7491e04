//! Redis fails in every way: each message is still answered once.

use std::time::{Duration, Instant};

use errand_devstack::Redis;
use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::{Reply, TestApp, User, eventually};
use redis::{AsyncCommands, aio::MultiplexedConnection};

use crate::workers::{one_task_each, replies, tasks};

/// Starts an app on this Redis.
async fn app_on(redis: &Redis) -> (TestApp, User) {
    let app = TestApp::builder().redis_url(redis.url()).start().await;
    app.model.script(one_task_each());
    let user = app.user("Ada").await;
    (app, user)
}

/// Posts `chats` messages at the same time, each in a new conversation.
async fn post(user: &User, chats: usize) -> Vec<Reply> {
    let posted = futures::future::join_all((0..chats).map(|_| user.chat_async(None, "Buy milk"))).await;
    for reply in &posted {
        assert_eq!(reply.status, 202, "{}", reply.body);
    }
    posted
}

/// Waits until all chats are answered and asserts that each was answered once.
async fn assert_all_answered_once(app: &TestApp, chats: usize) {
    app.drained().await;
    let chats = i64::try_from(chats).unwrap();
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM runs WHERE status = 'succeeded'")
            .await,
        chats
    );
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM messages WHERE role = 'assistant'")
            .await,
        chats
    );
    assert_eq!(tasks(app).await, chats, "one effect per message");
}

/// Waits until a worker blocks on the notification list.
async fn wait_until_worker_pops(app: &TestApp, redis: &mut MultiplexedConnection) {
    let key = app.ready_key();
    eventually("a worker waits for notifications", || {
        let (mut redis, key) = (redis.clone(), key.clone());
        async move {
            let clients: String = redis::cmd("CLIENT")
                .arg("LIST")
                .query_async(&mut redis)
                .await
                .unwrap();
            let kind: String = redis.key_type(&key).await.unwrap();
            clients.contains("cmd=blmpop") && kind == "none"
        }
    })
    .await;
}

/// Asserts that a chat is answered without a scan's delay.
async fn assert_chats_are_fast(user: &User) {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(user.chat("Buy milk").await.status, 200);
        best = best.min(start.elapsed());
    }
    assert!(best < Duration::from_millis(500), "{best:?}");
}

#[tokio::test]
async fn redis_restart_loses_no_message() {
    let mut redis = Redis::ephemeral().await.unwrap();
    let (app, user) = app_on(&redis).await;
    post(&user, 5).await;
    redis.stop().await.unwrap();
    post(&user, 5).await;
    redis.start_again().await.unwrap();
    post(&user, 5).await;
    assert_all_answered_once(&app, 15).await;
    wait_until_worker_pops(&app, &mut app.redis().await).await;
    assert_chats_are_fast(&user).await;
}

#[tokio::test]
async fn redis_crash_loses_no_message() {
    let mut redis = Redis::ephemeral().await.unwrap();
    let (app, user) = app_on(&redis).await;
    for _ in 0..3 {
        post(&user, 5).await;
        redis.crash().await.unwrap();
        post(&user, 5).await;
        redis.start_again().await.unwrap();
    }
    assert_all_answered_once(&app, 30).await;
}

#[tokio::test]
async fn queued_runs_are_answered_after_redis_is_flushed() {
    let redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder()
        .redis_url(redis.url())
        .worker("--worker-concurrency=1")
        .workers(1)
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("first", [Behaviour::reply("First.").behind(&gate)]));
    app.model
        .add(Script::new().then((0..40).map(|_| Behaviour::reply("Done."))));
    user.chat_async(None, "first").await;
    gate.wait_arrived(1).await;
    post(&user, 10).await;
    let mut connection = app.redis().await;
    eventually("ten notifications are queued", || {
        let mut connection = connection.clone();
        let key = app.ready_key();
        async move { connection.llen::<_, i64>(key).await.unwrap() >= 10 }
    })
    .await;
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    gate.release();
    post(&user, 5).await;
    app.drained().await;
    assert_eq!(replies(&app).await.len(), 16);
}

#[tokio::test]
async fn stalled_redis_loses_no_message() {
    let mut redis = Redis::ephemeral().await.unwrap();
    let (app, user) = app_on(&redis).await;
    for stall in [Duration::from_millis(600), Duration::from_secs(5)] {
        post(&user, 5).await;
        redis.pause().unwrap();
        let stalled = Instant::now();
        post(&user, 5).await;
        assert!(
            stalled.elapsed() < Duration::from_secs(2),
            "a post does not wait for Redis: {:?}",
            stalled.elapsed()
        );
        // The duration is what is tested.
        tokio::time::sleep(stall.saturating_sub(stalled.elapsed())).await;
        redis.resume().unwrap();
        post(&user, 5).await;
    }
    assert_all_answered_once(&app, 30).await;
    wait_until_worker_pops(&app, &mut app.redis().await).await;
    assert_chats_are_fast(&user).await;
}

#[tokio::test]
async fn malformed_notifications_are_dropped() {
    let redis = Redis::ephemeral().await.unwrap();
    let (app, user) = app_on(&redis).await;
    let mut connection = app.redis().await;
    let garbage: [&[u8]; 6] = [
        b"",
        b"\0",
        b"not an id",
        &[0xff; 15],
        &[0xff; 17],
        b"0199d2c0-0000-7000-8000-000000000000",
    ];
    for _ in 0..3 {
        for entry in garbage {
            let () = connection.rpush(app.ready_key(), entry).await.unwrap();
        }
        post(&user, 5).await;
    }
    assert_all_answered_once(&app, 15).await;
    wait_until_worker_pops(&app, &mut connection).await;
    assert_chats_are_fast(&user).await;
}

#[tokio::test]
async fn notification_key_of_a_wrong_type_is_removed() {
    let redis = Redis::ephemeral().await.unwrap();
    let (app, user) = app_on(&redis).await;
    let mut connection = app.redis().await;
    wait_until_worker_pops(&app, &mut connection).await;
    let () = connection.set(app.ready_key(), "a string").await.unwrap();
    post(&user, 5).await;
    let () = connection.del(app.ready_key()).await.unwrap();
    let () = connection.hset(app.ready_key(), "a", "hash").await.unwrap();
    post(&user, 5).await;
    assert_all_answered_once(&app, 10).await;
    wait_until_worker_pops(&app, &mut connection).await;
    assert_chats_are_fast(&user).await;
}

#[tokio::test]
async fn stale_notifications_cause_no_long_delay() {
    let redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder().redis_url(redis.url()).workers(0).start().await;
    app.model.script(one_task_each());
    let user = app.user("Ada").await;
    let mut connection = app.redis().await;
    for _ in 0..10 {
        let ids: Vec<_> = (0..10_000)
            .map(|_| *errand_shared::Uuid::now_v7().as_bytes())
            .collect();
        let ids: Vec<&[u8]> = ids.iter().map(<[u8; 16]>::as_slice).collect();
        let () = connection.rpush(app.ready_key(), ids).await.unwrap();
    }
    let _worker = app.start_worker().await;
    let start = Instant::now();
    let reply = user.chat("Buy milk").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let first = start.elapsed();
    assert!(first < Duration::from_secs(15), "{first:?}");
    wait_until_worker_pops(&app, &mut connection).await;
    assert_chats_are_fast(&user).await;
    assert_all_answered_once(&app, 6).await;
}

#[tokio::test]
async fn worker_starts_without_redis_and_uses_it_once_available() {
    let mut redis = Redis::ephemeral().await.unwrap();
    redis.stop().await.unwrap();
    let (app, user) = app_on(&redis).await;
    post(&user, 5).await;
    assert_all_answered_once(&app, 5).await;
    redis.start_again().await.unwrap();
    wait_until_worker_pops(&app, &mut app.redis().await).await;
    assert_chats_are_fast(&user).await;
    assert_all_answered_once(&app, 10).await;
}
