//! Conversations that exceed the model's context window are answered with a shorter history, and tokens that the provider does not
//! report are estimated.

use errand_fake_model::{Behaviour, Script, wire::ChatRequest};
use errand_testkit::{TestApp, User};
use serde_json::json;

/// A conversation with `messages` answered messages.
async fn conversation(app: &TestApp, user: &User, messages: usize) -> errand_shared::Uuid {
    app.model.script(Script::always(Behaviour::reply("Yes.")));
    let first = user.chat("message 1").await.id("conversation_id");
    for number in 2..=messages {
        let reply = user.chat_in(first, &format!("message {number}")).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    first
}

/// A model that rejects requests with more than `messages` messages in this way.
fn model_with_window(messages: usize, rejection: Behaviour) -> Script {
    let is_long = move |request: &ChatRequest| request.messages.len() > messages;
    Script::new()
        .when_fn(is_long, [rejection])
        .repeated()
        .otherwise(Behaviour::reply("Within the window."))
}

fn too_long() -> Behaviour {
    let error = json!({"error": {
        "message": "This model's maximum context length is 8192 tokens.",
        "type": "invalid_request_error",
        "code": "context_length_exceeded",
    }});
    Behaviour::RawBody {
        status: 400,
        content_type: "application/json".to_owned(),
        bytes: error.to_string().into_bytes(),
    }
}

#[tokio::test]
async fn history_is_halved_until_it_fits_the_window() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let conversation = conversation(&app, &user, 8).await;
    app.model.script(model_with_window(6, too_long()));
    let before = app.model.counts().received;
    let reply = user.chat_in(conversation, "message 9").await;
    assert_eq!(reply.text("message"), "Within the window.", "{}", reply.body);
    // Histories of 8, 4 and 2 messages.
    assert_eq!(app.model.counts().received - before, 3);
    let newest = String::from_utf8_lossy(&app.model.requests().last().unwrap().raw).into_owned();
    assert!(
        newest.contains("message 8") && !newest.contains("message 6"),
        "{newest}"
    );

    // The worker has learned the size: the next message needs no rejected request of that size.
    let before = app.model.counts().received;
    let reply = user.chat_in(conversation, "message 10").await;
    assert_eq!(reply.text("message"), "Within the window.");
    assert_eq!(app.model.counts().received - before, 1);
}

#[tokio::test]
async fn history_is_shortened_if_the_server_breaks_off_before_an_answer() {
    let app = TestApp::builder()
        .worker("--model-retries=1")
        .worker("--model-retry-base-ms=10")
        .start()
        .await;
    let user = app.user("Ada").await;
    let conversation = conversation(&app, &user, 4).await;
    let broken_off = Behaviour::DisconnectMidStream { after_chunks: 0 };
    for (message, rejection) in [("message 5", Behaviour::raw("")), ("message 6", broken_off)] {
        app.model.script(model_with_window(4, rejection));
        let reply = user.chat_in(conversation, message).await;
        assert_eq!(reply.text("message"), "Within the window.", "{}", reply.body);
    }
}

#[tokio::test]
async fn message_that_alone_exceeds_the_window_fails() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let conversation = conversation(&app, &user, 2).await;
    app.model.script(model_with_window(0, too_long()));
    let reply = user.chat_in(conversation, "message 3").await;
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert!(
        reply.text("detail").contains("too long for the model"),
        "{}",
        reply.body
    );
}

#[tokio::test]
async fn unreported_usage_is_estimated_and_marked() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let chunk =
        json!({"choices": [{"delta": {"content": "A reply of some words."}, "finish_reason": "stop"}]});
    app.model.script(Script::new().then([
        Behaviour::raw(format!("data: {chunk}\n\ndata: [DONE]\n\n").into_bytes()),
        Behaviour::reply("Counted."),
    ]));
    let estimated = user.chat("Hello").await;
    let usage = &estimated.body["usage"];
    assert_eq!(usage["estimated"], true, "{usage}");
    assert!(usage["prompt_tokens"].as_i64() > Some(100), "{usage}");
    assert_eq!(usage["completion_tokens"], 6, "{usage}");
    let stored = user.get(&format!("/runs/{}", estimated.text("run_id"))).await;
    assert_eq!(stored.body["usage"], *usage);
    let counted = user.chat("Hello").await;
    assert_eq!(counted.body["usage"].get("estimated"), None, "{}", counted.body);
    let steps = "SELECT usage_estimated::text FROM steps ORDER BY created_at";
    assert_eq!(app.database.texts(steps).await, ["true", "false"]);
}

/// An answer with this text and these token counts.
fn counted(content: &str, prompt_tokens: u32, completion_tokens: u32) -> Behaviour {
    let chunk = json!({
        "choices": [{"delta": {"content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens},
    });
    Behaviour::raw(format!("data: {chunk}\n\ndata: [DONE]\n\n").into_bytes())
}

#[tokio::test]
async fn run_whose_tools_took_effect_does_not_fail_for_lack_of_text() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    for (second, expected) in [("Added it.", "Added it."), ("", "Added task 2: milk")] {
        app.model.script(Script::new().then([
            Behaviour::tool_call("add_task", r#"{"title":"milk"}"#),
            counted("", 100, 1),
            counted(second, 200, 2),
        ]));
        let answered = user.chat("Buy milk").await;
        assert_eq!(answered.status, 200, "{}", answered.body);
        assert_eq!(answered.text("message"), expected);
        assert_eq!(answered.tools(), ["add_task"]);
    }
    // The step has the tokens of both of its answers.
    let last_steps =
        "SELECT concat_ws(' ', step, prompt_tokens, completion_tokens) FROM steps WHERE step > 0";
    assert_eq!(app.database.texts(last_steps).await, ["1 300 3", "1 300 3"]);
}
