//! Every response of `POST …/chat`.

use errand_fake_model::{Behaviour, FinishReason, Gate, Script};
use errand_testkit::{Reply, TestApp, User, eventually};
use reqwest::Method;
use serde_json::{Value, json};

async fn stored(app: &TestApp) -> i64 {
    app.database
        .count("SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM conversations)")
        .await
}

#[tokio::test]
async fn invalid_requests_are_rejected_and_store_nothing() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let post = |body: &str| {
        user.request(Method::POST, "/chat")
            .header("content-type", "application/json")
            .body(body.to_owned())
    };
    let long = json!({"message": "🦀".repeat(2001)}).to_string();
    let huge = json!({"message": "x".repeat(70_000)}).to_string();
    for (body, status, field) in [
        ("", 400, ""),
        ("{", 400, ""),
        ("{\"message\":\"hi\"} trailing", 400, ""),
        ("\u{feff}{}", 400, ""),
        ("null", 422, ""),
        ("[]", 422, ""),
        ("[\"hi\", null]", 422, ""),
        ("\"hi\"", 422, ""),
        ("{}", 422, "message"),
        ("{\"message\":null}", 422, "message"),
        ("{\"message\":5}", 422, "message"),
        ("{\"message\":\"\"}", 422, "message"),
        ("{\"message\":\" \\n\\t\\u3000\"}", 422, "message"),
        ("{\"message\":\"a\\u0000b\"}", 422, "message"),
        (
            "{\"message\":\"hi\",\"conversation_id\":\"x\"}",
            422,
            "conversation_id",
        ),
        (
            "{\"message\":\"hi\",\"conversation_id\":7}",
            422,
            "conversation_id",
        ),
        (&long, 422, "message"),
        (&huge, 413, ""),
    ] {
        let reply = Reply::read(post(body)).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.body);
        assert_eq!(
            reply.headers["content-type"], "application/problem+json",
            "{body}"
        );
        assert_eq!(reply.body["status"], status, "{body}");
        for member in ["type", "title", "detail"] {
            assert!(!reply.text(member).is_empty(), "{body}: {}", reply.body);
        }
        if !field.is_empty() {
            assert_eq!(reply.body["errors"][0]["field"], field, "{body}: {}", reply.body);
        }
    }
    let not_utf8 = user
        .request(Method::POST, "/chat")
        .header("content-type", "application/json")
        .body(b"{\"message\":\"\xff\"}".to_vec());
    assert_eq!(Reply::read(not_utf8).await.status, 400);
    for media_type in [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
    ] {
        let request = user
            .request(Method::POST, "/chat")
            .header("content-type", media_type)
            .body("{\"message\":\"hi\"}");
        assert_eq!(Reply::read(request).await.status, 415, "{media_type}");
    }
    let unnamed = user.request(Method::POST, "/chat").body("{\"message\":\"hi\"}");
    assert_eq!(Reply::read(unnamed).await.status, 415);
    for prefer in ["wait=-1", "wait=301", "wait=soon"] {
        let request = user
            .request(Method::POST, "/chat")
            .header("prefer", prefer)
            .json(&json!({"message": "hi"}));
        assert_eq!(Reply::read(request).await.status, 422, "{prefer}");
    }
    assert_eq!(Reply::read(user.request(Method::GET, "/chat")).await.status, 405);
    assert_eq!(user.get("/nothing").await.status, 404);
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn an_unknown_conversation_is_404_and_stores_nothing() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let unknown = errand_shared::Uuid::now_v7();
    let reply = user.chat_in(unknown, "hi").await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.text("detail"), format!("Conversation {unknown} not found"));
    assert_eq!(stored(&app).await, 0);
}

#[tokio::test]
async fn a_timed_out_wait_is_202_with_the_location_of_the_run() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("hi", [Behaviour::reply("Hello!").behind(&gate)]));
    let request = user
        .request(Method::POST, "/chat")
        .header("prefer", "wait=1")
        .json(&json!({"message": "hi"}));
    let pending = Reply::read(request).await;
    assert_eq!(pending.status, 202);
    assert_eq!(pending.text("status"), "running");
    assert_eq!(pending.text("message"), "");
    assert_eq!(pending.body["tool_calls"], json!([]));
    assert_eq!(
        pending.headers["location"],
        format!("/api/{}/runs/{}", user.id, pending.text("run_id"))
    );
    assert!(pending.headers.contains_key("retry-after"));
    assert_eq!(pending.headers["preference-applied"], "wait");
    gate.release();
    let answered = user.wait(pending.id("run_id")).await;
    assert_eq!(answered.status, 200);
    assert_eq!(answered.text("message"), "Hello!");
}

#[tokio::test]
async fn a_pending_response_has_the_current_state() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model.script(Script::new().when(
        "two steps",
        [
            Behaviour::tool_call("add_task", r#"{"title":"milk"}"#),
            Behaviour::reply("Done.").behind(&gate),
        ],
    ));
    let queued = user.chat_async(None, "two steps").await;
    assert_eq!(queued.status, 202);
    assert_eq!(queued.text("status"), "queued");
    // The model is called again before the step is committed.
    gate.wait_arrived(1).await;
    eventually("the step is committed", async || {
        app.database.count("SELECT count(*) FROM steps").await == 1
    })
    .await;
    let pending = user.get(&format!("/runs/{}", queued.text("run_id"))).await;
    assert_eq!(pending.status, 202);
    assert_eq!(pending.text("status"), "running");
    assert_eq!(pending.tools(), ["add_task"]);
    assert!(pending.body["usage"]["total_tokens"].as_i64() > Some(0));
    gate.release();
    assert_eq!(user.wait(queued.id("run_id")).await.status, 200);
}

async fn failed(app: &TestApp, user: &User, script: Script, reason: &str) -> Reply {
    app.model.script(script);
    let reply = user.chat("fail, please").await;
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert!(
        reply.text("detail").starts_with("Agent execution failed: "),
        "{}",
        reply.body
    );
    assert!(reply.text("detail").contains(reason), "{}", reply.body);
    assert_eq!(reply.text("status"), "failed");
    assert_eq!(reply.body["problem"]["status"], 502);
    reply
}

#[tokio::test]
async fn a_failed_run_is_502_and_can_be_retried() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let provider_down = Script::new().otherwise(Behaviour::status(500));
    let reply = failed(&app, &user, provider_down, "status 500").await;
    let filtered = Behaviour::Finish {
        reason: FinishReason::ContentFilter,
        content: String::new(),
    };
    failed(&app, &user, Script::new().otherwise(filtered), "content filter").await;
    let endless = Script::new().otherwise(Behaviour::tool_call("list_tasks", "{}"));
    let looped = failed(&app, &user, endless, "tool-loop limit").await;
    assert_eq!(looped.tools().len(), 9);
    failed(
        &app,
        &user,
        Script::new().otherwise(Behaviour::EmptyChoices),
        "could not be read",
    )
    .await;

    assert_eq!(
        app.database
            .count("SELECT count(*) FROM messages WHERE role = 'user'")
            .await,
        4
    );
    let view = user.get(&format!("/runs/{}", reply.text("run_id"))).await;
    assert_eq!(view.status, 200);
    assert_eq!(view.text("status"), "failed");
    assert_eq!(view.body["problem"]["detail"], reply.body["detail"]);

    app.model
        .script(Script::new().otherwise(Behaviour::reply("All well again.")));
    for run in [&reply, &looped] {
        let path = format!("/runs/{}/retry", run.text("run_id"));
        assert_eq!(user.post(&path, Value::Null).await.status, 202);
        let answered = user.wait(run.id("run_id")).await;
        assert_eq!(answered.text("status"), "succeeded", "{}", answered.body);
        assert_eq!(answered.tools().len(), run.tools().len());
        assert_eq!(
            user.post(&path, Value::Null).await.status,
            409,
            "a succeeded run is not retried"
        );
    }
}

#[tokio::test]
async fn transient_model_errors_are_retried() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    app.model.script(Script::new().then([
        Behaviour::status(503),
        Behaviour::rate_limited(0),
        Behaviour::Disconnect,
        Behaviour::DisconnectMidStream { after_chunks: 1 },
    ]));
    let reply = user.chat("Add a task to buy milk").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.tools(), ["add_task"]);
    assert_eq!(app.database.count("SELECT count(*) FROM tasks").await, 1);
}

#[tokio::test]
async fn a_cancelled_run_is_409() {
    let app = TestApp::builder().worker("--heartbeat-ms=50").start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("wait", [Behaviour::reply("Too late.").behind(&gate)]));
    let chat = async { user.chat("wait").await };
    let cancel = async {
        gate.wait_arrived(1).await;
        let conversations = user.get("/conversations").await;
        let run = conversations.body["items"][0]["active_run_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = format!("/runs/{run}/cancel");
        assert_eq!(user.post(&path, Value::Null).await.status, 202);
        path
    };
    let (chat, path) = tokio::join!(chat, cancel);
    assert_eq!(chat.status, 409, "{}", chat.body);
    assert_eq!(chat.text("status"), "cancelled");
    assert_eq!(
        user.post(&path, Value::Null).await.status,
        200,
        "a final run is unchanged"
    );
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM messages WHERE role = 'assistant'")
            .await,
        0
    );
}

#[tokio::test]
async fn a_queued_run_is_cancelled_immediately_and_the_next_starts() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let first = user.chat_async(None, "Add a task to buy milk").await;
    let second = user.chat_async(Some(first.id("conversation_id")), "Hello").await;
    let cancelled = user
        .post(&format!("/runs/{}/cancel", first.text("run_id")), Value::Null)
        .await;
    assert_eq!(cancelled.status, 202);
    assert_eq!(cancelled.text("status"), "cancelled");
    let _worker = app.start_worker().await;
    assert_eq!(user.wait(second.id("run_id")).await.text("status"), "succeeded");
    assert_eq!(app.database.count("SELECT count(*) FROM tasks").await, 0);
    let retry = user
        .post(&format!("/runs/{}/retry", first.text("run_id")), Value::Null)
        .await;
    assert_eq!(retry.status, 409, "not the last of its conversation");
}

#[tokio::test]
async fn too_many_open_runs_are_429_and_store_nothing() {
    let app = TestApp::builder()
        .workers(0)
        .api("--max-open-runs-per-user=2")
        .start()
        .await;
    let user = app.user("Ada").await;
    for _ in 0..2 {
        assert_eq!(user.chat_async(None, "hi").await.status, 202);
    }
    let before = stored(&app).await;
    let reply = user.chat_async(None, "hi").await;
    assert_eq!(reply.status, 429);
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(stored(&app).await, before);
    assert_eq!(
        app.user("Eve").await.chat_async(None, "hi").await.status,
        202,
        "other users are not limited"
    );
    let _worker = app.start_worker().await;
    for run in user.get("/conversations").await.body["items"].as_array().unwrap() {
        user.wait(
            run["active_run_id"]
                .as_str()
                .unwrap_or_default()
                .parse()
                .unwrap_or_default(),
        )
        .await;
    }
    drain(&app).await;
}

/// Waits until no run is open.
async fn drain(app: &TestApp) {
    while app
        .database
        .count("SELECT count(*) FROM runs WHERE finished_at IS NULL")
        .await
        > 0
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_queue_is_503_and_stores_nothing() {
    let app = TestApp::builder()
        .workers(0)
        .api("--max-queued-runs=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    app.database.count("WITH u AS (INSERT INTO users (id, email, name) VALUES (gen_random_uuid(), 'a@b', 'x') RETURNING id), \
        c AS (INSERT INTO conversations (id, user_id, title) SELECT gen_random_uuid(), id, 't' FROM u RETURNING id, user_id), \
        r AS (INSERT INTO runs (id, conversation_id, user_id, seq) SELECT gen_random_uuid(), id, user_id, 1 FROM c RETURNING 1) \
        SELECT count(*) FROM r").await;
    let before = stored(&app).await;
    let reply = user.chat_async(None, "hi").await;
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(stored(&app).await, before);
    app.database
        .count("WITH d AS (DELETE FROM runs RETURNING 1) SELECT count(*) FROM d")
        .await;
}

#[tokio::test]
async fn too_many_messages_a_minute_are_429() {
    let app = TestApp::builder()
        .workers(0)
        .api("--rate-limit-chat-per-minute=2")
        .start()
        .await;
    let user = app.user("Ada").await;
    let keyed = |key: &'static str| {
        let request = user
            .request(Method::POST, "/chat")
            .header("prefer", "wait=0")
            .header("idempotency-key", key);
        Reply::read(request.json(&json!({"message": "hi"})))
    };
    let first = keyed("one").await;
    assert_eq!(first.status, 202);
    assert_eq!(first.headers["ratelimit-policy"], "\"chat\";q=2;w=60");
    assert_eq!(first.headers["ratelimit"], "\"chat\";r=1;t=30");
    assert_eq!(keyed("two").await.status, 202);
    let third = keyed("three").await;
    assert_eq!(third.status, 429);
    let limit = third.headers["ratelimit"].to_str().unwrap();
    assert!(limit.starts_with("\"chat\";r=0;t="), "{limit}");
    let again = keyed("one").await;
    assert_eq!(
        again.status, 202,
        "a known key is answered before any limit is checked"
    );
    assert_eq!(again.body["run_id"], first.body["run_id"]);
    let _worker = app.start_worker().await;
    drain(&app).await;
}
