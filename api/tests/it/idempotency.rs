//! The same key with the same fields attaches to the first run.

use errand_testkit::{Reply, TestApp, User};
use reqwest::Method;
use serde_json::{Value, json};

async fn send(user: &User, key: &str, body: Value) -> Reply {
    Reply::read(
        user.request(Method::POST, "/chat")
            .header("idempotency-key", key)
            .json(&body),
    )
    .await
}

#[tokio::test]
async fn a_repeated_request_has_one_effect_and_one_response() {
    let app = TestApp::builder().apis(2).start().await;
    let user = app.user("Ada").await;
    let body = json!({"message": "Add a task to buy milk"});
    let first = send(&user, "k1", body.clone()).await;
    let spaced = json!({ "conversation_id": null,   "message": "Add a task to buy milk" });
    let again = send(&user.at(app.url_of(1)), "k1", spaced).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.body, first.body);
    assert_eq!(app.database.count("SELECT count(*) FROM tasks").await, 1);
    assert_eq!(app.database.count("SELECT count(*) FROM runs").await, 1);

    let other = send(&user, "k1", json!({"message": "Something else"})).await;
    assert_eq!(other.status, 422);
    assert_eq!(other.body["errors"][0]["field"], "Idempotency-Key");
    let elsewhere = send(&app.user("Eve").await, "k1", body).await;
    assert_ne!(
        elsewhere.body["run_id"], first.body["run_id"],
        "keys of different users are independent"
    );
}

#[tokio::test]
async fn concurrent_requests_with_one_key_create_one_run() {
    let app = TestApp::builder().apis(2).start().await;
    let user = app.user("Ada").await;
    let other = user.at(app.url_of(1));
    let body = json!({"message": "Add a task to buy milk"});
    let mut requests = Vec::new();
    for number in 0..20 {
        let user = if number % 2 == 0 {
            user.clone()
        } else {
            other.clone()
        };
        let body = body.clone();
        requests.push(async move { send(&user, "same", body).await });
    }
    let mut runs = Vec::new();
    for reply in futures::future::join_all(requests).await {
        assert_eq!(reply.status, 200, "{}", reply.body);
        runs.push(reply.id("run_id"));
    }
    runs.dedup();
    assert_eq!(runs.len(), 1);
    assert_eq!(app.database.count("SELECT count(*) FROM runs").await, 1);
    assert_eq!(app.database.count("SELECT count(*) FROM tasks").await, 1);
    assert_eq!(app.database.count("SELECT count(*) FROM conversations").await, 1);
}

#[tokio::test]
async fn the_key_of_a_rejected_message_can_be_reused() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let unknown = errand_shared::Uuid::now_v7();
    let refused = send(&user, "k", json!({"message": "hi", "conversation_id": unknown})).await;
    assert_eq!(refused.status, 404);
    assert_eq!(
        app.database.count("SELECT count(*) FROM idempotency_keys").await,
        0
    );
    assert_eq!(send(&user, "k", json!({"message": "hi"})).await.status, 200);
    for key in ["", "a\u{1}b"] {
        let request = user.request(Method::POST, "/chat").header(
            "idempotency-key",
            reqwest::header::HeaderValue::from_bytes(key.as_bytes()).unwrap_or_else(|_| "".parse().unwrap()),
        );
        assert_eq!(
            Reply::read(request.json(&json!({"message": "hi"}))).await.status,
            422,
            "{key:?}"
        );
    }
}

#[tokio::test]
async fn a_key_outlives_its_conversation() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let first = send(&user, "k", json!({"message": "hi"})).await;
    let deleted = Reply::read(user.request(
        Method::DELETE,
        &format!("/conversations/{}", first.text("conversation_id")),
    ))
    .await;
    assert_eq!(deleted.status, 204);
    assert_eq!(send(&user, "k", json!({"message": "hi"})).await.status, 404);
    assert_eq!(app.database.count("SELECT count(*) FROM runs").await, 0);
}
