//! Invalid requests are answered with status 400, as by `OpenAI`.

use errand_fake_model::Behaviour;
use serde_json::{Value, json};

use crate::client::{ask, send, server_with, tools};

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "list_tasks", "arguments": "{}"}})
}

#[tokio::test]
async fn invalid_messages_are_rejected() {
    let user = json!({"role": "user", "content": "hi"});
    let asked = json!({"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]});
    let answered = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "{}"});
    let messages = [
        ("no messages", json!([])),
        ("unknown role", json!([{"role": "robot", "content": "hi"}])),
        ("user without content", json!([{"role": "user"}])),
        (
            "assistant without content or calls",
            json!([user, {"role": "assistant"}]),
        ),
        ("orphan tool message", json!([user, answered("a")])),
        ("unanswered calls at the end", json!([user, asked])),
        ("one call unanswered", json!([user, asked, answered("a"), user])),
        (
            "one call unanswered at the end",
            json!([user, asked, answered("b")]),
        ),
        ("unknown id", json!([user, asked, answered("a"), answered("c")])),
        (
            "answered twice",
            json!([user, asked, answered("a"), answered("a"), answered("b")]),
        ),
        (
            "duplicate id",
            json!([user, {"role": "assistant", "tool_calls": [call("a"), call("a")]}]),
        ),
        (
            "empty tool calls",
            json!([user, {"role": "assistant", "content": "x", "tool_calls": []}]),
        ),
        (
            "no tool call id",
            json!([user, asked, {"role": "tool", "content": "{}"}]),
        ),
        ("messages of the wrong type", json!("hi")),
    ];
    let server = server_with(Behaviour::reply("ok")).await;
    for (what, messages) in messages {
        let mut body = ask("hi");
        body["messages"] = messages;
        let response = send(&server, &body).await.unwrap();
        assert_eq!(response.status(), 400, "{what}");
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error", "{what}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty(), "{what}");
        assert!(error["error"].get("code").is_some(), "{what}");
    }
    assert!(server.requests().iter().all(|request| request.rejected.is_some()));
}

#[tokio::test]
async fn invalid_tools_are_rejected() {
    let tool = |name: &str, parameters: Value| json!([{"type": "function", "function": {"name": name, "parameters": parameters}}]);
    let server = server_with(Behaviour::reply("ok")).await;
    let table = [
        json!([]),
        tool("", json!({"type": "object"})),
        tool("has space", json!({"type": "object"})),
        tool(&"x".repeat(65), json!({"type": "object"})),
        tool("x", json!("object")),
        tool("x", json!({"type": "string"})),
        tool("x", json!({"type": "object", "properties": []})),
        json!([{"type": "magic", "function": {"name": "x"}}]),
        json!([{"type": "function"}]),
        json!([{"type": "function", "function": {"name": "x"}}, {"type": "function", "function": {"name": "x"}}]),
    ];
    for tools in table {
        let mut body = ask("hi");
        body["tools"] = tools.clone();
        assert_eq!(send(&server, &body).await.unwrap().status(), 400, "{tools}");
    }
}

#[tokio::test]
async fn valid_transcript_is_accepted() {
    let server = server_with(Behaviour::reply("ok")).await;
    let body = json!({
        "model": "gpt-4", "temperature": 0.7, "max_tokens": 1000, "tools": tools(), "unknown_member": [1],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": "Wait.", "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "b", "content": "{}"},
            {"role": "tool", "tool_call_id": "a", "content": "{}"},
            {"role": "assistant", "content": "There."},
            {"role": "user", "content": "again"},
            {"role": "user", "content": "and again"},
        ],
    });
    assert_eq!(send(&server, &body).await.unwrap().status(), 200);
    assert_eq!(server.requests()[0].rejected, None);
}

#[tokio::test]
async fn body_that_is_not_json_is_rejected() {
    let server = server_with(Behaviour::reply("ok")).await;
    let url = format!("{}/chat/completions", server.base_url());
    let response = reqwest::Client::new()
        .post(url)
        .body("{not json")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    assert!(server.requests()[0].request.is_none());
}
