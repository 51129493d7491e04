//! Postgres or Redis is unavailable: timely errors, and recovery without a restart.

use std::time::Duration;

use errand_devstack::{Postgres, Redis};
use errand_testkit::{Reply, TestApp, User, eventually};
use reqwest::Method;
use serde_json::json;
use tokio::{process::Command, time::Instant};

/// Sends a chat while Postgres is unavailable, and asserts a timely 503 with `Retry-After`.
async fn refused(user: &User) -> Reply {
    let start = Instant::now();
    let reply = user.chat("Add a task to buy milk").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert!(reply.headers.contains_key("retry-after"));
    reply
}

#[tokio::test]
async fn a_chat_is_503_while_postgres_is_down() {
    let mut postgres = Postgres::ephemeral().await.unwrap();
    let app = TestApp::builder().postgres_url(postgres.url()).start().await;
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Hello").await.status, 200);

    postgres.stop().await.unwrap();
    refused(&user).await;
    assert_eq!(user.get("/conversations").await.status, 503);
    let ready = Reply::read(app.http().get(format!("{}/readyz", app.url()))).await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        Reply::read(app.http().get(format!("{}/healthz", app.url())))
            .await
            .status,
        200
    );

    postgres.start_again().await.unwrap();
    let chat = user.chat("Add a task to buy milk").await;
    assert_eq!(chat.status, 200, "{}", chat.body);
    assert_eq!(chat.tools(), ["add_task"]);
}

#[tokio::test]
async fn a_chat_is_503_while_postgres_stalls_and_its_key_finds_the_run() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Hello").await.status, 200);
    let mut stall = app.database.pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *stall)
        .await
        .unwrap();
    let send = async || {
        let request = user.request(Method::POST, "/chat").header("idempotency-key", "k");
        Reply::read(request.json(&json!({"message": "Add a task to buy milk"}))).await
    };
    let start = Instant::now();
    let unknown = send().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(unknown.status, 503, "{}", unknown.body);
    assert!(!unknown.text("run_id").is_empty(), "{}", unknown.body);
    stall.rollback().await.unwrap();
    assert_eq!(send().await.status, 200);
    assert_eq!(send().await.status, 200);
    assert_eq!(app.database.count("SELECT count(*) FROM tasks").await, 1);
}

/// Sends SIGSTOP or SIGCONT to the Postgres backends of the API.
async fn signal_backends(pids: &str, signal: &str) {
    let kill = format!("kill -{signal} {pids}");
    let status = Command::new("sh").args(["-c", &kill]).status().await.unwrap();
    assert!(status.success(), "{kill}");
}

#[tokio::test]
async fn every_request_is_503_while_postgres_is_frozen() {
    let mut postgres = Postgres::ephemeral().await.unwrap();
    let app = TestApp::builder().postgres_url(postgres.url()).start().await;
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Hello").await.status, 200);
    // Connections stay open and the kernel accepts new ones, but no process answers.
    let pids = app
        .database
        .texts(
            "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE backend_type = 'client backend'",
        )
        .await
        .remove(0);
    postgres.pause().unwrap();
    signal_backends(&pids, "STOP").await;
    let start = Instant::now();
    let (ready, conversations, _) = tokio::join!(
        Reply::read(app.http().get(format!("{}/readyz", app.url()))),
        user.get("/conversations"),
        refused(&user)
    );
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!((ready.status.as_u16(), conversations.status.as_u16()), (503, 503));
    assert_eq!(
        Reply::read(app.http().get(format!("{}/healthz", app.url())))
            .await
            .status,
        200
    );

    signal_backends(&pids, "CONT").await;
    postgres.resume().unwrap();
    app.drained().await;
    let chat = user.chat("Add a task to buy milk").await;
    assert_eq!(chat.status, 200, "{}", chat.body);
}

#[tokio::test]
async fn messages_are_answered_without_redis() {
    let mut redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder()
        .redis_url(redis.url())
        .api("--wait-sweep-ms=50")
        .worker("--rescue-interval-ms=50")
        .start()
        .await;
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Hello").await.status, 200);

    redis.stop().await.unwrap();
    let chat = user.chat("Add a task to buy milk").await;
    assert_eq!(chat.status, 200, "{}", chat.body);
    assert_eq!(chat.tools(), ["add_task"]);
    let ready = async || Reply::read(app.http().get(format!("{}/readyz", app.url()))).await;
    let degraded = ready().await;
    assert_eq!(
        (degraded.status.as_u16(), degraded.text("status")),
        (200, "degraded")
    );

    redis.start_again().await.unwrap();
    eventually("the Redis subscription to be active again", || async {
        ready().await.text("status") == "ready"
    })
    .await;
    assert_eq!(user.chat("Show me all my tasks").await.status, 200);
}
