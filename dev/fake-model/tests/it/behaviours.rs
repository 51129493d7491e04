//! Behaviours and scripts, as a client sees them.

use std::time::Duration;

use errand_fake_model::{Behaviour, FinishReason, Gate, Options, Script, Server};
use futures::{StreamExt as _, future::join};
use reqwest::Client;
use serde_json::{Value, json};

use crate::client::{ask, reply, send, server, server_with, streamed};

#[tokio::test]
async fn first_matching_queue_answers() {
    let script = Script::new()
        .when("milk", [Behaviour::reply("m1"), Behaviour::reply("m2")])
        .when_fn(|request| request.messages.len() > 1, [Behaviour::reply("long")])
        .then([Behaviour::reply("any")])
        .otherwise(Behaviour::reply("default"));
    let server = server(script).await;
    let text = async |body: Value| reply(&server, &body).await["choices"][0]["message"]["content"].clone();
    assert_eq!(text(ask("tea")).await, "any");
    assert_eq!(text(ask("milk")).await, "m1");
    assert_eq!(text(ask("more milk")).await, "m2");
    assert_eq!(text(ask("milk")).await, "default");
    let mut long = ask("tea");
    long["messages"] = json!([{"role": "system", "content": "x"}, {"role": "user", "content": "tea"}]);
    assert_eq!(text(long).await, "long");
    server.push_when("tea", Behaviour::reply("pushed"));
    assert_eq!(server.remaining(), 1);
    assert_eq!(text(ask("tea")).await, "pushed");
    server.script(Script::new().then([Behaviour::reply("again")]).repeated());
    assert_eq!(text(ask("a")).await, "again");
    assert_eq!(text(ask("b")).await, "again");
}

#[tokio::test]
async fn error_statuses_have_error_object_and_retry_after() {
    let server = server(Script::new().then([
        Behaviour::rate_limited(7),
        Behaviour::status(503),
        Behaviour::Status {
            code: 500,
            retry_after: Some("soon".into()),
            body: Some("oops".into()),
        },
    ]))
    .await;
    let first = send(&server, &ask("a")).await.unwrap();
    assert_eq!(first.status(), 429);
    assert_eq!(first.headers()["retry-after"], "7");
    let body: Value = first.json().await.unwrap();
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    let second = send(&server, &ask("a")).await.unwrap();
    assert_eq!(second.status(), 503);
    assert!(second.headers().get("retry-after").is_none());
    let third = send(&server, &ask("a")).await.unwrap();
    assert_eq!(third.headers()["retry-after"], "soon");
    assert_eq!(third.text().await.unwrap(), "oops");
}

#[tokio::test]
async fn raw_body_is_sent_unchanged() {
    let bytes = vec![b'{', 0xFF, 0xFE, b'}'];
    let behaviour = Behaviour::RawBody {
        status: 200,
        content_type: "text/html".into(),
        bytes: bytes.clone(),
    };
    let server = server_with(behaviour).await;
    let response = send(&server, &ask("a")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/html");
    assert_eq!(response.bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn unusual_answers_have_their_documented_shape() {
    let call = ("list_tasks".to_owned(), "{not json".to_owned());
    let server = server(Script::new().then([
        Behaviour::Finish {
            reason: FinishReason::Length,
            content: "cut o".into(),
        },
        Behaviour::Finish {
            reason: FinishReason::ContentFilter,
            content: String::new(),
        },
        Behaviour::Refusal("no".into()),
        Behaviour::EmptyChoices,
        Behaviour::NullContent,
        Behaviour::DuplicateToolCallIds(vec![call.clone(), call.clone()]),
        Behaviour::ReplyWithToolCalls {
            content: "Let me see.".into(),
            calls: vec![call],
        },
    ]))
    .await;
    let next = async || reply(&server, &ask("a")).await["choices"].clone();
    assert_eq!(next().await[0]["finish_reason"], "length");
    assert_eq!(next().await[0]["finish_reason"], "content_filter");
    assert_eq!(next().await[0]["message"]["refusal"], "no");
    assert_eq!(next().await, json!([]));
    assert_eq!(next().await[0]["message"]["content"], Value::Null);
    let calls = next().await[0]["message"]["tool_calls"].clone();
    assert_eq!(calls[0]["id"], calls[1]["id"]);
    assert_eq!(calls[0]["function"]["arguments"], "{not json");
    let both = next().await[0]["message"].clone();
    assert_eq!(both["content"], "Let me see.");
    assert_eq!(both["tool_calls"][0]["function"]["name"], "list_tasks");
}

#[tokio::test]
async fn disconnect_sends_no_response() {
    let server = server_with(Behaviour::Disconnect).await;
    let error = send(&server, &ask("a")).await.unwrap_err();
    assert!(error.is_request(), "{error:?}");
    server.wait_idle().await;
}

#[tokio::test]
async fn stream_disconnects_after_given_number_of_chunks() {
    let server = server_with(Behaviour::DisconnectMidStream { after_chunks: 3 }).await;
    let mut stream = send(&server, &streamed(ask("a"))).await.unwrap().bytes_stream();
    let mut text = String::new();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_eq!(text.matches("data: ").count(), 3);
    assert!(!text.contains("[DONE]"));

    let response = send(&server, &ask("a")).await.unwrap();
    assert!(response.bytes().await.is_err());
}

#[tokio::test]
async fn hanging_request_ends_when_client_disconnects() {
    let server = server_with(Behaviour::Hang).await;
    let body = ask("a");
    let call = Box::pin(send(&server, &body));
    let received = server.wait_received(1);
    match futures::future::select(call, Box::pin(received)).await {
        futures::future::Either::Left(_) => panic!("a hanging request was answered"),
        futures::future::Either::Right(((), call)) => {
            assert_eq!(server.counts().in_flight, 1);
            drop(call);
        }
    }
    server.wait_idle().await;
}

#[tokio::test]
async fn drip_streams_until_server_stops() {
    let server = server_with(Behaviour::Drip {
        chunk_every: Duration::from_millis(1),
    })
    .await;
    let mut stream = send(&server, &streamed(ask("a"))).await.unwrap().bytes_stream();
    for _ in 0..5 {
        assert!(stream.next().await.unwrap().is_ok());
    }
    server.shutdown().await;
    while let Some(Ok(_)) = stream.next().await {}
}

#[tokio::test]
async fn gate_blocks_requests_until_released() {
    let gate = Gate::new();
    let server = server_with(Behaviour::reply("through").behind(&gate)).await;
    let body = ask("a");
    let calls = join(reply(&server, &body), reply(&server, &body));
    let test = async {
        gate.wait_arrived(2).await;
        assert_eq!(server.counts().in_flight, 2);
        gate.release_one();
        server.wait_received(2).await;
        gate.release();
    };
    let ((first, second), ()) = join(calls, test).await;
    assert_eq!(first["choices"][0]["message"]["content"], "through");
    assert_eq!(second["choices"][0]["message"]["content"], "through");
    // The gate stays open.
    reply(&server, &body).await;
    assert_eq!(gate.arrived(), 3);
}

#[tokio::test]
async fn dropping_server_closes_connections() {
    let server = server_with(Behaviour::Hang).await;
    let url = format!("{}/chat/completions", server.base_url());
    let call = tokio_util::task::TaskTracker::new().spawn(Client::new().post(url).json(&ask("a")).send());
    server.wait_received(1).await;
    drop(server);
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn mix_chooses_by_weight() {
    let mix = Behaviour::Mix(vec![
        (0, Behaviour::status(500)),
        (1, Behaviour::reply("a")),
        (1, Behaviour::reply("b")),
    ]);
    let server = server_with(mix).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let answer = reply(&server, &ask("x")).await;
        seen.insert(
            answer["choices"][0]["message"]["content"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn control_routes_set_script_and_list_requests() {
    let server = Server::start(Options {
        control: true,
        ..Options::default()
    })
    .await
    .unwrap();
    let root = server.base_url().replace("/v1", "");
    let client = Client::new();
    let script = json!({
        "queues": [
            {"when": "milk", "behaviours": [
                {"delay": [1, {"status": {"code": 429, "retry_after": "1"}}]},
                {"tool_calls": [["list_tasks", "{}"]]},
                {"raw_body": {"status": 200, "content_type": "text/plain", "bytes": [255, 0]}},
                {"finish": {"reason": "content_filter", "content": ""}},
                "empty_choices",
            ]},
            {"behaviours": ["hang", {"drip": {"chunk_every": 5}}, {"disconnect_mid_stream": {"after_chunks": 2}}]},
        ],
        "default": {"reply": "default"},
    });
    let put = client
        .put(format!("{root}/__control/script"))
        .json(&script)
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 200);
    assert_eq!(send(&server, &ask("milk")).await.unwrap().status(), 429);
    let calls = reply(&server, &ask("milk")).await;
    assert_eq!(calls["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(
        send(&server, &ask("milk")).await.unwrap().bytes().await.unwrap(),
        vec![255, 0]
    );
    let seen = client
        .get(format!("{root}/__control/requests"))
        .send()
        .await
        .unwrap();
    let seen: Value = seen.json().await.unwrap();
    assert_eq!(seen.as_array().unwrap().len(), 3);
    assert_eq!(seen[0]["body"]["messages"][0]["content"], "milk");
    let left: Value = client
        .get(format!("{root}/__control/script"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(left["queues"][0]["behaviours"].as_array().unwrap().len(), 2);
    let bad = client
        .put(format!("{root}/__control/script"))
        .body(r#"{"defualt": 1}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), 400);
}

#[tokio::test]
async fn control_routes_are_off_by_default() {
    let server = server_with(Behaviour::Demo).await;
    let root = server.base_url().replace("/v1", "");
    let response = reqwest::get(format!("{root}/__control/requests")).await.unwrap();
    assert_eq!(response.status(), 404);
}
