//! A client for the tests.

use errand_fake_model::{Behaviour, Options, Script, Server};
use reqwest::{Client, Response};
use serde_json::{Value, json};

pub(crate) async fn server(script: Script) -> Server {
    Server::start(Options {
        script,
        seed: Some(1),
        ..Options::default()
    })
    .await
    .unwrap()
}

pub(crate) async fn server_with(behaviour: Behaviour) -> Server {
    server(Script::always(behaviour)).await
}

pub(crate) fn tools() -> Value {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}});
    json!(
        [
            "add_task",
            "list_tasks",
            "complete_task",
            "update_task",
            "delete_task"
        ]
        .map(tool)
    )
}

pub(crate) fn ask(text: &str) -> Value {
    json!({"model": "any", "messages": [{"role": "user", "content": text}], "tools": tools()})
}

pub(crate) fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body
}

pub(crate) async fn send(server: &Server, body: &Value) -> reqwest::Result<Response> {
    Client::new()
        .post(format!("{}/chat/completions", server.base_url()))
        .bearer_auth("key")
        .json(body)
        .send()
        .await
}

pub(crate) async fn reply(server: &Server, body: &Value) -> Value {
    send(server, body).await.unwrap().json().await.unwrap()
}

/// Returns the chunks of a stream and checks that it ends with `[DONE]`.
pub(crate) async fn chunks(server: &Server, body: &Value) -> Vec<Value> {
    let response = send(server, body).await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let text = response.text().await.unwrap();
    let mut events: Vec<&str> = text
        .split("\n\n")
        .filter(|e| !e.is_empty())
        .map(|e| e.strip_prefix("data: ").unwrap())
        .collect();
    assert_eq!(events.pop(), Some("[DONE]"));
    events
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect()
}
