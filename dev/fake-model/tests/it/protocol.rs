//! The shapes of responses, streamed and not, that clients rely on.

use errand_fake_model::{Answer, Behaviour, Call, Options, Script, Server};
use serde_json::{Value, json};

use crate::client::{ask, chunks, reply, server_with, streamed};

#[tokio::test]
async fn text_is_sent_as_completion() {
    let server = server_with(Behaviour::reply("Hello there.")).await;
    let answer = reply(&server, &ask("hi")).await;
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "errand-demo");
    assert!(
        answer["system_fingerprint"]
            .as_str()
            .unwrap()
            .starts_with("errand-rules-")
    );
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(
        choice["message"],
        json!({"role": "assistant", "content": "Hello there.", "refusal": null})
    );
    let usage = &answer["usage"];
    let sum = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    assert_eq!(usage["completion_tokens"], 3);
}

#[tokio::test]
async fn streamed_chunks_form_the_text_and_end_with_usage() {
    let server = server_with(Behaviour::reply("One  two\nthree 🥛")).await;
    let chunks = chunks(&server, &streamed(ask("hi"))).await;
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "One  two\nthree 🥛");
    let last = &chunks[chunks.len() - 1];
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].as_u64().unwrap() > 0);
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
}

#[tokio::test]
async fn stream_without_include_usage_has_no_usage() {
    let server = server_with(Behaviour::reply("hi")).await;
    let mut body = ask("hi");
    body["stream"] = json!(true);
    let chunks = chunks(&server, &body).await;
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.get("usage").is_none() && chunk["choices"][0].is_object())
    );
}

#[tokio::test]
async fn streamed_tool_call_starts_with_id_and_name() {
    let first = json!({"title": "buy milk and a great many other things"}).to_string();
    let calls = vec![
        ("add_task".to_owned(), first.clone()),
        ("list_tasks".to_owned(), "{}".to_owned()),
    ];
    let server = server_with(Behaviour::ToolCalls(calls)).await;
    let chunks = chunks(&server, &streamed(ask("hi"))).await;
    let deltas: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
        .filter(|d| d.is_object())
        .collect();
    assert_eq!(
        deltas[0]["function"],
        json!({"name": "add_task", "arguments": ""})
    );
    assert!(deltas[0]["id"].as_str().unwrap().starts_with("call_"));
    assert!(deltas[1].get("id").is_none());
    let arguments = |index: u64| -> String {
        deltas
            .iter()
            .filter(|delta| delta["index"] == index)
            .filter_map(|delta| delta["function"]["arguments"].as_str())
            .collect()
    };
    assert_eq!(arguments(0), first);
    assert_eq!(arguments(1), "{}");
    assert!(
        chunks
            .iter()
            .any(|chunk| chunk["choices"][0]["finish_reason"] == "tool_calls")
    );
}

#[tokio::test]
async fn same_seed_produces_same_ids() {
    let mut ids = Vec::new();
    for seed in [7, 7, 8] {
        let server = Server::start(Options {
            seed: Some(seed),
            script: Script::always(Behaviour::tool_call("list_tasks", "{}")),
            ..Options::default()
        })
        .await
        .unwrap();
        let answer = reply(&server, &ask("hi")).await;
        ids.push(answer["choices"][0]["message"]["tool_calls"][0]["id"].clone());
        server.shutdown().await;
    }
    assert!(ids[0].is_string());
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}

#[tokio::test]
async fn models_health_and_unknown_routes_respond() {
    let server = server_with(Behaviour::Demo).await;
    let models: Value = reqwest::get(format!("{}/models", server.base_url()))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(models["data"][0]["id"], "errand-demo");
    let root = server.base_url().replace("/v1", "");
    let health = reqwest::get(format!("{root}/healthz")).await.unwrap();
    assert_eq!(health.status(), 200);
    let missing = reqwest::get(format!("{root}/nothing")).await.unwrap();
    assert_eq!(missing.status(), 404);
    let wrong = reqwest::get(format!("{root}/v1/chat/completions")).await.unwrap();
    assert_eq!(wrong.status(), 405);
    let wrong: Value = wrong.json().await.unwrap();
    assert_eq!(wrong["error"]["code"], "method_not_supported");
}

#[tokio::test]
async fn requests_are_recorded_in_bounded_buffer() {
    let server = Server::start(Options {
        record: 2,
        ..Options::default()
    })
    .await
    .unwrap();
    for text in ["one", "two", "three"] {
        reply(&server, &ask(text)).await;
    }
    let seen = server.requests();
    let texts: Vec<String> = seen
        .iter()
        .map(|r| r.request.as_ref().unwrap().last_user_text().unwrap().into_owned())
        .collect();
    assert_eq!(texts, ["two", "three"]);
    assert_eq!(seen[0].authorization.as_deref(), Some("Bearer key"));
    assert_eq!(seen[1].json()["messages"][0]["content"], "three");
    assert_eq!(server.counts().received, 3);
}

#[tokio::test]
async fn brain_answers_with_text_or_tool_calls() {
    let server = Server::start(Options {
        brain: |request| match request.last_user_text().as_deref() {
            Some("list") => Answer::ToolCalls(vec![Call {
                name: "list_tasks".to_owned(),
                arguments: json!({"limit": 5}),
            }]),
            _ => Answer::Text("Hello.".to_owned()),
        },
        ..Options::default()
    })
    .await
    .unwrap();
    let text = reply(&server, &ask("hi")).await;
    assert_eq!(text["choices"][0]["message"]["content"], "Hello.");
    let calls = reply(&server, &ask("list")).await;
    let function = &calls["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(
        *function,
        json!({"name": "list_tasks", "arguments": r#"{"limit":5}"#})
    );
}
