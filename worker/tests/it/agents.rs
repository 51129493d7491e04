//! Agents from a file: each conversation is answered by its chosen agent, with that agent's prompt, model and tools.

use std::time::Duration;

use errand_fake_model::{Behaviour, Options, Script, Server};
use errand_testkit::{AgentsFile, Reply, TestApp, User};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

use crate::workers::{runs, tasks};

const FILE: &str = r#"
[agents.shopper]
prompt = "You keep a shopping list."
model = "small"
temperature = 0.25
max_tokens = 77
max_steps = 2
tools = ["list_tasks"]

[agents.talker]
tools = []
"#;

async fn start(file: &AgentsFile) -> TestApp {
    TestApp::builder()
        .api(file.setting())
        .worker(file.setting())
        .start()
        .await
}

async fn chat(user: &User, body: Value) -> Reply {
    user.post("/chat", body).await
}

/// The last request that the model was sent.
fn last_request(app: &TestApp) -> Value {
    app.model.requests().last().unwrap().json()
}

fn system(request: &Value) -> &str {
    request["messages"][0]["content"].as_str().unwrap()
}

fn offered(request: &Value) -> Vec<&str> {
    let tools = request["tools"].as_array();
    tools
        .into_iter()
        .flatten()
        .map(|tool| tool["function"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn conversation_keeps_the_agent_of_its_first_message() {
    let file = AgentsFile::new(FILE);
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().otherwise(Behaviour::reply("As you like.")));
    let first = chat(&user, json!({"message": "hello", "agent": "shopper"})).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let conversation = first.id("conversation_id");
    let again = user.chat_in(conversation, "hello again").await;
    assert_eq!(again.status, 200, "{}", again.body);
    for request in app.model.requests() {
        let request = request.json();
        assert!(
            system(&request).starts_with("You keep a shopping list.\n"),
            "{request}"
        );
        assert!(system(&request).contains("\"Ada\""), "{request}");
        assert_eq!(request["model"], "small");
        assert_eq!(request["temperature"], 0.25);
        assert_eq!(request["max_tokens"], 77);
        assert_eq!(offered(&request), ["list_tasks"]);
    }
    let stored = user.get(&format!("/conversations/{conversation}")).await;
    assert_eq!(stored.body["agent"], "shopper");

    let other = user.chat("hello").await;
    assert_eq!(other.status, 200, "{}", other.body);
    let request = last_request(&app);
    assert!(system(&request).starts_with("You are Errand"), "{request}");
    assert_eq!(request["model"], "gpt-5.4-mini");
    assert_eq!(offered(&request).len(), 5);
    let stored = user
        .get(&format!("/conversations/{}", other.id("conversation_id")))
        .await;
    assert_eq!(stored.body["agent"], Value::Null);

    chat(&user, json!({"message": "hello", "agent": "talker"})).await;
    let request = last_request(&app);
    assert!(
        request.get("tools").is_none(),
        "servers refuse an empty list: {request}"
    );
}

#[tokio::test]
async fn agent_is_restricted_to_its_own_tools_and_limits() {
    let file = AgentsFile::new(FILE);
    let app = start(&file).await;
    let user = app.user("Ada").await;
    let add = Behaviour::tool_call("add_task", r#"{"title":"milk"}"#);
    app.model
        .script(Script::new().then([add, Behaviour::reply("I can't.")]));
    let reply = chat(&user, json!({"message": "add milk", "agent": "shopper"})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let error = reply.body["tool_calls"][0]["result"]["error"].as_str().unwrap();
    assert!(error.starts_with("UNKNOWN_TOOL"), "{error}");
    assert!(error.ends_with("the available tools are list_tasks."), "{error}");
    assert_eq!(tasks(&app).await, 0);

    let list = || Behaviour::tool_call("list_tasks", "{}");
    app.model.script(Script::new().then([list()]).repeated());
    let endless = chat(&user, json!({"message": "go on", "agent": "shopper"})).await;
    assert_eq!(endless.status, 502, "{}", endless.body);
    // The second of its two steps must be the reply.
    assert_eq!(
        endless.body["tool_calls"].as_array().unwrap().len(),
        1,
        "{}",
        endless.body
    );
}

#[tokio::test]
async fn unknown_agent_is_rejected_and_nothing_is_stored() {
    let file = AgentsFile::new(FILE);
    let app = start(&file).await;
    let user = app.user("Ada").await;
    let first = chat(&user, json!({"message": "hello", "agent": "todo"})).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let conversation = first.id("conversation_id");
    for body in [
        json!({"message": "hi", "agent": "unknown"}),
        json!({"message": "hi", "agent": ""}),
        json!({"message": "hi", "agent": 7}),
        json!({"message": "hi", "agent": "todo", "conversation_id": conversation}),
    ] {
        let refused = chat(&user, body.clone()).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], "agent", "{}", refused.body);
    }
    // The agent is one of the fields that an idempotency key covers.
    let keyed = async |agent: &str| {
        let request = user.request(Method::POST, "/chat").header("idempotency-key", "k");
        Reply::read(request.json(&json!({"message": "hello", "agent": agent}))).await
    };
    let taken = keyed("todo").await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    assert_eq!(keyed("todo").await.body["run_id"], taken.body["run_id"]);
    assert_eq!(keyed("talker").await.status, 422);
    assert_eq!(runs(&app).await.len(), 2);
}

#[tokio::test]
async fn run_fails_if_no_worker_has_its_agent() {
    let file = AgentsFile::new(FILE);
    let app = TestApp::builder()
        .api(file.setting())
        .worker("--run-max-attempts=2")
        .start()
        .await;
    let user = app.user("Ada").await;
    let reply = chat(&user, json!({"message": "hello", "agent": "shopper"})).await;
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert!(
        reply.text("detail").contains("agent of this conversation"),
        "{}",
        reply.body
    );
    assert_eq!(runs(&app).await, ["failed 2 1 0"]);
}

#[tokio::test]
async fn default_agent_of_the_file_answers_if_none_is_chosen() {
    let file = AgentsFile::new(&format!("default = \"talker\"\n{FILE}"));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().otherwise(Behaviour::reply("As you like.")));
    assert_eq!(user.chat("hello").await.status, 200);
    assert!(offered(&last_request(&app)).is_empty());
}

#[tokio::test]
async fn each_server_receives_only_its_own_key() {
    let own = Server::start(Options::default()).await.unwrap();
    let server = format!("base_url = \"{}\"", own.base_url());
    let file = AgentsFile::new(&format!(
        "[agents.keyless]\n{server}\n[agents.keyed]\n{server}\napi_key = {{ env = \"CARGO_PKG_NAME\" }}\n\
         [agents.headed]\nheaders = {{ Authorization = {{ env = \"CARGO_PKG_NAME\" }} }}\n"
    ));
    let app = TestApp::builder()
        .api(file.setting())
        .worker(file.setting())
        .worker("--openai-api-key=s3cret")
        .start()
        .await;
    let user = app.user("Ada").await;
    let bearer = |key: &str| Some(format!("Bearer {key}"));
    for (agent, server, authorization) in [
        (Value::Null, &app.model, bearer("s3cret")),
        (json!("keyless"), &own, None),
        (json!("keyed"), &own, bearer(env!("CARGO_PKG_NAME"))),
        (
            json!("headed"),
            &app.model,
            Some(env!("CARGO_PKG_NAME").to_owned()),
        ),
    ] {
        let reply = chat(&user, json!({"message": "hello", "agent": agent})).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let requests = server.requests();
        let request = requests.last().unwrap();
        assert_eq!(request.path, "/v1/chat/completions", "{agent}");
        assert_eq!(request.authorization, authorization, "{agent}");
    }
    own.shutdown().await;
}

#[tokio::test]
async fn agent_without_server_address_is_reported_at_start() {
    let file = AgentsFile::new("[agents.lost]\nbase_url = \"http://[\"\n");
    let app = TestApp::builder().workers(0).start().await;
    let ended = Command::new(env!("CARGO_BIN_EXE_errand-worker"))
        .args(app.worker_arguments())
        .arg(file.setting())
        .kill_on_drop(true)
        .output();
    let ended = timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    let expected =
        "error: AGENTS_FILE: the server of agent lost: OPENAI_BASE_URL: must be an http or https URL\n";
    assert!(stderr.ends_with(expected), "{stderr}");
    assert_eq!(ended.status.code(), Some(2));
}
