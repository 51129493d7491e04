//! A run whose model does not answer continues with the agent's next model.

use errand_fake_model::{Behaviour, Options, Script, Server};
use errand_testkit::{AgentsFile, TestApp};
use serde_json::json;

async fn start(fallback: &Server) -> (TestApp, AgentsFile) {
    let file = AgentsFile::new(&format!(
        "[agents.todo]\nmodel = \"first\"\nfallbacks = [{{ model = \"second\", base_url = \"{}\", reasoning_effort = \"low\" }}]",
        fallback.base_url()
    ));
    let app = TestApp::builder()
        .api(file.setting())
        .worker(file.setting())
        .worker("--model-retries=1")
        .start()
        .await;
    (app, file)
}

fn quota() -> Behaviour {
    Behaviour::RawBody {
        status: 429,
        content_type: "application/json".to_owned(),
        bytes: json!({"error": {"message": "pay", "code": "insufficient_quota"}})
            .to_string()
            .into_bytes(),
    }
}

#[tokio::test]
async fn run_continues_with_the_fallback_at_the_step_that_failed() {
    let fallback = Server::start(Options::default()).await.unwrap();
    let (app, _file) = start(&fallback).await;
    let user = app.user("Ada").await;
    app.model.script(
        Script::new()
            .then([Behaviour::tool_call("add_task", r#"{"title":"milk"}"#)])
            .otherwise(Behaviour::status(503)),
    );
    fallback.script(Script::always(Behaviour::reply("From the second model.")));
    let reply = user.chat("Buy milk").await;
    assert_eq!(reply.text("message"), "From the second model.", "{}", reply.body);
    assert_eq!(reply.tools(), ["add_task"]);
    assert_eq!(
        app.model.counts().received,
        3,
        "the step, and its successor twice"
    );
    let request = fallback.requests().last().unwrap().json();
    assert_eq!(
        (&request["model"], &request["reasoning_effort"]),
        (&json!("second"), &json!("low"))
    );
    assert_eq!(request["messages"][3]["role"], "tool", "{request}");

    // While the first model counts as unavailable, other runs start with the second.
    assert_eq!(user.chat("And?").await.text("message"), "From the second model.");
    assert_eq!(app.model.counts().received, 3);
    fallback.shutdown().await;
}

#[tokio::test]
async fn used_up_quota_is_a_reason_for_the_fallback_and_a_rejected_request_is_not() {
    let fallback = Server::start(Options::default()).await.unwrap();
    let (app, _file) = start(&fallback).await;
    let user = app.user("Ada").await;
    fallback.script(Script::always(Behaviour::reply("From the second model.")));
    app.model.script(Script::always(Behaviour::status(400)));
    assert_eq!(user.chat("Hello").await.status, 502);
    assert_eq!(fallback.counts().received, 0);
    app.model.script(Script::always(quota()));
    assert_eq!(user.chat("Hello").await.text("message"), "From the second model.");
    fallback.shutdown().await;
}

#[tokio::test]
async fn run_fails_if_the_last_fallback_fails() {
    let fallback = Server::start(Options::default()).await.unwrap();
    let (app, _file) = start(&fallback).await;
    let user = app.user("Ada").await;
    for model in [&app.model, &fallback] {
        model.script(Script::always(Behaviour::status(503)));
    }
    let reply = user.chat("Hello").await;
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert_eq!((app.model.counts().received, fallback.counts().received), (2, 2));
    fallback.shutdown().await;
}
