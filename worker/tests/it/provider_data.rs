//! Reasoning and signatures that arrive with tool calls are sent back with them: in the same run, after its worker died, and in
//! later messages of the conversation.

use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::{Reply, TestApp, User};
use serde_json::{Value, json};

use crate::workers::{process, runs, steps_committed, with_short_timeouts};

/// A stream that adds a task, with a provider's data in every known form.
fn add_milk_with_data() -> Behaviour {
    let call = json!({
        "index": 0,
        "id": "call_a",
        "function": {"name": "add_task", "arguments": r#"{"title":"milk"}"#},
        "extra_content": {"google": {"thought_signature": "c2ln"}},
    });
    let chunks = [
        json!({"reasoning_content": ""}),
        json!({"reasoning_content": "The user ", "reasoning_details": [{"type": "reasoning.text", "text": "The user "}]}),
        json!({"reasoning_content": "wants\u{0} milk.", "reasoning_details": [{"type": "reasoning.text", "text": "wants milk."}]}),
        json!({"tool_calls": [call]}),
    ];
    let events: Vec<String> = chunks
        .iter()
        .map(|delta| format!("data: {}\n\n", json!({"choices": [{"delta": delta}]})))
        .collect();
    Behaviour::raw(format!("{}data: [DONE]\n\n", events.concat()).into_bytes())
}

/// The assistant's message with the tool call in the newest request.
fn message_with_call(app: &TestApp) -> Value {
    let requests = app.model.requests();
    let mut request = requests.last().unwrap().json();
    let messages = request["messages"].as_array_mut().unwrap();
    let position = messages
        .iter()
        .rposition(|message| message["tool_calls"].is_array());
    messages.swap_remove(position.unwrap())
}

/// A chat whose model adds a task, with data, and then replies "Done.", as it does to later messages.
async fn buy_milk(app: &TestApp, user: &User) -> Reply {
    let script = Script::new().then([add_milk_with_data()]);
    app.model.script(script.otherwise(Behaviour::reply("Done.")));
    user.chat("Buy milk").await
}

fn assert_data_sent_back(app: &TestApp) {
    let message = message_with_call(app);
    assert_eq!(message["reasoning_content"], "The user wants milk.", "{message}");
    assert_eq!(
        message["reasoning_details"],
        json!([{"type": "reasoning.text", "text": "The user wants milk."}]),
        "{message}"
    );
    assert_eq!(
        message["tool_calls"][0]["extra_content"],
        json!({"google": {"thought_signature": "c2ln"}}),
        "{message}"
    );
}

#[tokio::test]
async fn data_is_sent_back_in_the_run_and_in_later_messages() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let reply = buy_milk(&app, &user).await;
    assert_eq!(
        (reply.text("message"), reply.tools()),
        ("Done.", vec!["add_task"])
    );
    assert_data_sent_back(&app);
    let next = user.chat_in(reply.id("conversation_id"), "Thanks").await;
    assert_eq!(next.text("message"), "Done.");
    assert_data_sent_back(&app);
    let shown = user.get(&format!("/runs/{}", reply.text("run_id"))).await;
    assert!(
        !shown.body.to_string().contains("The user wants"),
        "{}",
        shown.body
    );
}

#[tokio::test]
async fn data_of_a_dead_workers_step_is_sent_back() {
    let app = with_short_timeouts(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    let script = [
        add_milk_with_data(),
        Behaviour::reply("Lost.").behind(&gate),
        Behaviour::reply("Done."),
    ];
    app.model.script(Script::new().then(script));
    let victim = process(&app, &[]).await;
    let posted = user.chat_async(None, "Buy milk").await;
    gate.wait_arrived(1).await;
    steps_committed(&app, 1).await;
    victim.kill().await;
    let _other = app.start_worker().await;
    assert_eq!(user.wait(posted.id("run_id")).await.text("message"), "Done.");
    assert_eq!(runs(&app).await, ["succeeded 2 0 1"]);
    assert_data_sent_back(&app);
}

#[tokio::test]
async fn data_of_another_model_is_not_sent() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let reply = buy_milk(&app, &user).await;
    let elsewhere = "UPDATE messages SET metadata = jsonb_set(metadata, '{provider_data,source}', '\"other/model\"') \
                     WHERE metadata ? 'provider_data'";
    app.database.execute(elsewhere).await.unwrap();
    user.chat_in(reply.id("conversation_id"), "Thanks").await;
    let message = message_with_call(&app);
    assert_eq!(message["reasoning_content"], Value::Null, "{message}");
    assert_eq!(
        message["tool_calls"][0]["extra_content"],
        Value::Null,
        "{message}"
    );
}
