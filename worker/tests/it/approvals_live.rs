//! How users are asked for their consent while they wait, read events or have a socket open.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{Builder, Events, Reply, Socket, TestApp, User, kind_of, kinds_of, seq_of, text_of};
use reqwest::Method;
use serde_json::{Value, json};

use crate::scene::{process, swift, tasks};

fn deleting(builder: Builder) -> Builder {
    swift(builder).worker("--approval-required-tools=delete_task")
}

/// A user with one task, and a model that deletes it.
async fn scene(app: &TestApp) -> User {
    let user = app.user("Ada").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    let delete = ("delete_task".to_owned(), json!({"task_id": 1}).to_string());
    app.model
        .script(Script::new().then([Behaviour::ToolCalls(vec![delete]), Behaviour::reply("Deleted.")]));
    user
}

async fn decide(user: &User, asked: &Value, approve: bool) -> Reply {
    let run = asked["run_id"].as_str().unwrap();
    let call = asked["data"]["tool_call_id"].as_str().unwrap();
    user.post(
        &format!("/runs/{run}/approvals/{call}"),
        json!({"approve": approve}),
    )
    .await
}

#[tokio::test]
async fn waiting_request_returns_when_the_run_needs_approval() {
    let app = deleting(TestApp::builder()).start().await;
    let user = scene(&app).await;
    // Longer than any test may take.
    let request = user
        .request(Method::POST, "/chat")
        .header("prefer", "wait=300")
        .json(&json!({"message": "Delete the milk"}));
    let told = Reply::read(request).await;
    assert_eq!(told.status, 202, "{}", told.body);
    assert_eq!(told.text("status"), "waiting_approval");
    let call = &told.body["approvals"][0];
    assert_eq!(call["tool_name"], "delete_task");
    let path = format!(
        "/runs/{}/approvals/{}",
        told.text("run_id"),
        call["tool_call_id"].as_str().unwrap()
    );
    // Who looks at a run that waits already is not sent away again.
    let (ended, decided) = tokio::join!(
        user.wait(told.id("run_id")),
        user.post(&path, json!({"approve": true}))
    );
    assert_eq!(decided.status, 202, "{}", decided.body);
    assert_eq!(ended.text("message"), "Deleted.", "{}", ended.body);
    assert_eq!(tasks(&app).await, 0);
}

#[tokio::test]
async fn subscriber_sees_the_approval_request_and_the_rest_of_the_run() {
    let app = deleting(TestApp::builder()).start().await;
    let user = scene(&app).await;
    let mut stream = user.chat_events(None, "Delete the milk").await;
    let mut told = stream.until("approval.requested").await;
    let asked = told.last().unwrap().clone();
    assert_eq!(
        asked["data"]["arguments"],
        json!({"user_id": user.id.to_string(), "task_id": 1})
    );
    assert!(asked["data"]["expires_at"].is_string(), "{asked}");
    // Who comes late, and who comes back, is asked too, under the same number.
    let run_id = asked["run_id"].as_str().unwrap().parse().unwrap();
    let late = user.events(run_id, 0).await.until("approval.requested").await;
    assert_eq!(late.last(), Some(&asked));
    let again: Events = user.events(run_id, seq_of(&asked)).await;
    assert_eq!(decide(&user, &asked, true).await.status, 202);
    told.extend(stream.rest().await);
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
    assert_eq!(kinds_of(&told)[..expected.len()], expected, "{told:#?}");
    assert_eq!(text_of(&told), "Deleted.");
    assert_eq!(again.rest().await, told[3..]);
}

#[tokio::test]
async fn user_approves_over_the_websocket() {
    let app = deleting(TestApp::builder()).start().await;
    let user = scene(&app).await;
    let bearer = format!("Bearer {}", user.token);
    let mut socket = Socket::open(&app.url(), user.id, &[("authorization", &bearer)])
        .await
        .unwrap();
    socket
        .say(json!({"type": "chat", "id": "a", "message": "Delete the milk"}))
        .await;
    let frames = socket.until("approval.requested").await;
    let asked = frames.last().unwrap();
    let mut answer = json!({
        "type": "approve", "run_id": asked["run_id"], "tool_call_id": "another", "approve": true
    });
    socket.say(answer.clone()).await;
    let refused = socket.until("error").await;
    assert_eq!(refused.last().unwrap()["problem"]["status"], 404, "{refused:#?}");
    answer["tool_call_id"] = asked["data"]["tool_call_id"].clone();
    answer["approve"] = json!(false);
    socket.say(answer).await;
    let frames = socket.until("run.succeeded").await;
    let finished = frames.iter().find(|frame| kind_of(frame) == "tool.finished");
    let error = finished.unwrap()["data"]["result"]["error"].as_str().unwrap();
    assert!(error.starts_with("DECLINED"), "{error}");
    assert_eq!(tasks(&app).await, 1);
}

#[tokio::test]
async fn approval_request_survives_the_death_of_the_worker() {
    let app = deleting(TestApp::builder().workers(0))
        .api("--wait-sweep-ms=100")
        .start()
        .await;
    let user = scene(&app).await;
    let mut stream = user.chat_events(None, "Delete the milk").await;
    let mut told = stream.until("run.queued").await;
    // Redis rejects what this worker sends, so its events are lost.
    let mute = process(&app, &["--redis-url=redis://127.0.0.1:1"]).await;
    told.extend(stream.until("approval.requested").await);
    mute.kill().await;
    let _heir = app.start_worker().await;
    assert_eq!(decide(&user, told.last().unwrap(), true).await.status, 202);
    told.extend(stream.rest().await);
    assert_eq!(text_of(&told), "Deleted.", "{told:#?}");
    assert!(told.is_sorted_by_key(seq_of), "{told:#?}");
    assert_eq!(tasks(&app).await, 0);
}
