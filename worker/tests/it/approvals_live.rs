//! Approval requests for users who wait, read events or have a WebSocket open.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{Builder, Events, Reply, Socket, TestApp, User, kind_of, kinds_of, seq_of, text_of};
use reqwest::Method;
use serde_json::{Value, json};

use crate::workers::{process, tasks, with_short_timeouts};

/// Deleting a task needs approval.
fn with_approval(builder: Builder) -> Builder {
    with_short_timeouts(builder).worker("--approval-required-tools=delete_task")
}

/// Creates a user with one task and a model that deletes it.
async fn user_with_a_task(app: &TestApp) -> User {
    let user = app.user("Ada").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    let delete = ("delete_task".to_owned(), json!({"task_id": 1}).to_string());
    app.model
        .script(Script::new().then([Behaviour::ToolCalls(vec![delete]), Behaviour::reply("Deleted.")]));
    user
}

async fn decide(user: &User, request: &Value, approve: bool) -> Reply {
    let run = request["run_id"].as_str().unwrap();
    let call = request["data"]["tool_call_id"].as_str().unwrap();
    user.post(
        &format!("/runs/{run}/approvals/{call}"),
        json!({"approve": approve}),
    )
    .await
}

#[tokio::test]
async fn waiting_request_returns_when_the_run_needs_approval() {
    let app = with_approval(TestApp::builder()).start().await;
    let user = user_with_a_task(&app).await;
    // Longer than any test may take.
    let request = user
        .request(Method::POST, "/chat")
        .header("prefer", "wait=300")
        .json(&json!({"message": "Delete the milk"}));
    let reply = Reply::read(request).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert_eq!(reply.text("status"), "waiting_approval");
    let call = &reply.body["approvals"][0];
    assert_eq!(call["tool_name"], "delete_task");
    let path = format!(
        "/runs/{}/approvals/{}",
        reply.text("run_id"),
        call["tool_call_id"].as_str().unwrap()
    );
    // A request for a run that already awaits approval keeps waiting.
    let (ended, decided) = tokio::join!(
        user.wait(reply.id("run_id")),
        user.post(&path, json!({"approve": true}))
    );
    assert_eq!(decided.status, 202, "{}", decided.body);
    assert_eq!(ended.text("message"), "Deleted.", "{}", ended.body);
    assert_eq!(tasks(&app).await, 0);
}

#[tokio::test]
async fn subscriber_sees_the_approval_request_and_the_rest_of_the_run() {
    let app = with_approval(TestApp::builder()).start().await;
    let user = user_with_a_task(&app).await;
    let mut stream = user.chat_events(None, "Delete the milk").await;
    let mut events = stream.until("approval.requested").await;
    let request = events.last().unwrap().clone();
    assert_eq!(
        request["data"]["arguments"],
        json!({"user_id": user.id.to_string(), "task_id": 1})
    );
    assert!(request["data"]["expires_at"].is_string(), "{request}");
    // Late and resumed subscribers receive the same approval event with the same number.
    let run_id = request["run_id"].as_str().unwrap().parse().unwrap();
    let late = user.events(run_id, 0).await.until("approval.requested").await;
    assert_eq!(late.last(), Some(&request));
    let resumed: Events = user.events(run_id, seq_of(&request)).await;
    assert_eq!(decide(&user, &request, true).await.status, 202);
    events.extend(stream.rest().await);
    let expected = [
        "run.queued",
        "run.started",
        "approval.requested",
        "run.queued",
        "run.started",
        "message.reset",
        "tool.started",
        "tool.finished",
    ];
    assert_eq!(kinds_of(&events)[..expected.len()], expected, "{events:#?}");
    assert_eq!(text_of(&events), "Deleted.");
    assert_eq!(resumed.rest().await, events[3..]);
}

#[tokio::test]
async fn user_approves_over_the_websocket() {
    let app = with_approval(TestApp::builder()).start().await;
    let user = user_with_a_task(&app).await;
    let bearer = format!("Bearer {}", user.token);
    let mut socket = Socket::open(&app.url(), user.id, &[("authorization", &bearer)])
        .await
        .unwrap();
    socket
        .send_json(json!({"type": "chat", "id": "a", "message": "Delete the milk"}))
        .await;
    let frames = socket.until("approval.requested").await;
    let request = frames.last().unwrap();
    let mut answer = json!({
        "type": "approve", "run_id": request["run_id"], "tool_call_id": "another", "approve": true
    });
    socket.send_json(answer.clone()).await;
    let refused = socket.until("error").await;
    assert_eq!(refused.last().unwrap()["problem"]["status"], 404, "{refused:#?}");
    answer["tool_call_id"] = request["data"]["tool_call_id"].clone();
    answer["approve"] = json!(false);
    socket.send_json(answer).await;
    let frames = socket.until("run.succeeded").await;
    let finished = frames.iter().find(|frame| kind_of(frame) == "tool.finished");
    let error = finished.unwrap()["data"]["result"]["error"].as_str().unwrap();
    assert!(error.starts_with("DECLINED"), "{error}");
    assert_eq!(tasks(&app).await, 1);
}

#[tokio::test]
async fn approval_request_survives_the_death_of_the_worker() {
    let app = with_approval(TestApp::builder().workers(0))
        .api("--wait-sweep-ms=100")
        .start()
        .await;
    let user = user_with_a_task(&app).await;
    let mut stream = user.chat_events(None, "Delete the milk").await;
    let mut events = stream.until("run.queued").await;
    // This worker cannot reach Redis, so its events are lost.
    let worker_without_redis = process(&app, &["--redis-url=redis://127.0.0.1:1"]).await;
    events.extend(stream.until("approval.requested").await);
    worker_without_redis.kill().await;
    let _other_worker = app.start_worker().await;
    assert_eq!(decide(&user, events.last().unwrap(), true).await.status, 202);
    events.extend(stream.rest().await);
    assert_eq!(text_of(&events), "Deleted.", "{events:#?}");
    assert!(events.is_sorted_by_key(seq_of), "{events:#?}");
    assert_eq!(tasks(&app).await, 0);
}
