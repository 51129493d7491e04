//! Cancels running runs.

use std::time::{Duration, Instant};

use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::TestApp;
use serde_json::{Value, json};

use crate::workers::{add_milk, replies, runs, tasks};

#[tokio::test]
async fn active_run_is_cancelled_within_a_heartbeat_and_keeps_its_effects() {
    let app = TestApp::builder()
        .worker("--heartbeat-ms=500")
        .worker("--worker-dead-after-ms=30000")
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model.script(
        Script::new()
            .when("milk", [add_milk(), Behaviour::reply("Too late.").behind(&gate)])
            .otherwise(Behaviour::reply("As you say.")),
    );
    let posted = user.chat_async(None, "Buy milk").await;
    gate.wait_arrived(1).await;
    let start = Instant::now();
    let cancel = user
        .post(&format!("/runs/{}/cancel", posted.text("run_id")), Value::Null)
        .await;
    assert_eq!(cancel.status, 202);
    let cancelled = user.wait(posted.id("run_id")).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(cancelled.text("status"), "cancelled");
    assert_eq!(cancelled.tools(), ["add_task"]);
    assert_eq!(cancelled.text("message"), "");
    // The model call was aborted, so that it costs no more tokens.
    tokio::time::timeout(Duration::from_secs(5), app.model.wait_idle())
        .await
        .unwrap();
    assert_eq!(tasks(&app).await, 1);

    let next = user.chat_in(posted.id("conversation_id"), "Never mind").await;
    assert_eq!(next.text("message"), "As you say.", "{}", next.body);
    let request = app.model.requests().pop().unwrap().json();
    let roles: Vec<_> = request["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].clone())
        .collect();
    assert_eq!(
        roles,
        ["system", "user", "assistant", "tool", "assistant", "user"]
    );
    let ending = request["messages"][4]["content"].as_str().unwrap();
    assert!(ending.contains("cancelled after these calls"), "{ending}");
    assert_eq!(replies(&app).await, ["As you say."]);
}

#[tokio::test]
async fn cancellation_during_a_step_keeps_the_whole_step() {
    // With so rare a heartbeat, only the step can detect the cancellation; the command to the worker is lost.
    let app = TestApp::builder()
        .worker("--heartbeat-ms=60000")
        .worker("--worker-dead-after-ms=200000")
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    let two = ["milk", "eggs"].map(|title| ("add_task".to_owned(), json!({"title": title}).to_string()));
    app.model
        .script(Script::new().when("both", [Behaviour::ToolCalls(two.into()).behind(&gate)]));
    let posted = user.chat_async(None, "both").await;
    gate.wait_arrived(1).await;
    mark_cancelled(&app).await;
    gate.release();
    let cancelled = tokio::time::timeout(Duration::from_secs(10), user.wait(posted.id("run_id")))
        .await
        .expect("the step ends the run although the model call is in progress");
    assert_eq!(cancelled.text("status"), "cancelled", "{}", cancelled.body);
    assert_eq!(cancelled.tools(), ["add_task", "add_task"]);
    assert!(cancelled.body["usage"]["total_tokens"].as_i64() > Some(0));
    assert_eq!(tasks(&app).await, 2);
    // The model may have been called again during the commit; that answer is discarded.
    tokio::time::timeout(Duration::from_secs(5), app.model.wait_idle())
        .await
        .unwrap();
    assert_eq!(runs(&app).await, ["cancelled 1 0 0"]);
    assert!(replies(&app).await.is_empty());
}

#[tokio::test]
async fn cancellation_and_reply_exclude_each_other() {
    let app = TestApp::builder()
        .worker("--heartbeat-ms=60000")
        .worker("--worker-dead-after-ms=200000")
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("hi", [Behaviour::reply("Hello!").behind(&gate)]));
    let posted = user.chat_async(None, "hi").await;
    gate.wait_arrived(1).await;
    mark_cancelled(&app).await;
    gate.release();
    assert_eq!(user.wait(posted.id("run_id")).await.text("status"), "cancelled");
    assert!(replies(&app).await.is_empty());

    let done = user.chat("Hello").await;
    let late = user
        .post(&format!("/runs/{}/cancel", done.text("run_id")), Value::Null)
        .await;
    assert_eq!(late.status, 200);
    assert_eq!(user.wait(done.id("run_id")).await.text("status"), "succeeded");
    assert_eq!(replies(&app).await.len(), 1);
}

/// Requests a cancellation without notifying a worker.
async fn mark_cancelled(app: &TestApp) {
    app.database
        .execute("UPDATE runs SET cancel_requested_at = now()")
        .await
        .unwrap();
}
