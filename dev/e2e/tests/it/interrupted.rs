//! Answers that are interrupted: by a reload, by the user, by a model error or by an API that goes down.

use std::time::Duration;

use errand_fake_model::{Behaviour, Gate, Options, Script};
use errand_testkit::{Reply, TestApp, User};
use serde_json::json;
use thirtyfour::Key;

use crate::{
    browser_test::{BrowserTest, GATED_ANSWER, gated_script, restartable_api},
    page::Page,
};

/// The stored messages of the open conversation, oldest first.
async fn stored_messages(user: &User, page: &Page) -> Vec<String> {
    let path = format!("/conversations/{}/messages", page.conversation_id().await);
    let messages = user.get(&path).await;
    messages.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn reload_before_the_answer_starts_shows_the_answer_once() {
    let gate = Gate::new();
    BrowserTest::run(TestApp::builder(), async |test| {
        test.app.model.script(gated_script(&gate));
        let (_, page) = test.signed_in_user().await;
        page.send_message("wait").await;
        gate.wait_arrived(1).await;

        page.reload().await;
        page.wait_for(
            "the run in progress",
            "document.querySelector('.turn[data-state=running] .working')",
        )
        .await;
        gate.release();

        page.wait_for_answer(GATED_ANSWER).await;
        assert_eq!(page.messages().await, ["wait"]);
        assert_eq!(page.answers().await, [GATED_ANSWER]);
        page.wait_for("no Stop button", "document.querySelector('#stop').hidden")
            .await;
    })
    .await;
}

#[tokio::test]
async fn reload_while_the_answer_streams_shows_it_completely() {
    let words = (0..400).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
    let model = Options {
        token_delay: Duration::from_millis(25),
        script: Script::new().when("talk", [Behaviour::reply(&words)]),
        ..Options::default()
    };
    BrowserTest::run(TestApp::builder().model(model), async |test| {
        let (user, page) = test.signed_in_user().await;
        let streamed_so_far = |word: &str| {
            format!(
                "document.querySelector('.turn[data-state=running] .answer')?.innerText.includes('{word}') \
                 && !document.querySelector('.answer').innerText.includes('word399')"
            )
        };
        page.send_message("talk").await;
        page.wait_for("the first words", &streamed_so_far("word2")).await;
        assert_eq!(page.texts(".working").await, ["Writing…"]);
        page.wait_for("more words", &streamed_so_far("word12")).await;

        page.reload().await;
        page.wait_for("the words so far", &streamed_so_far("word13"))
            .await;

        page.wait_for_answer("word399").await;
        assert_eq!(page.answers().await, [words.as_str()]);
        assert_eq!(stored_messages(&user, &page).await, ["talk", words.as_str()]);
    })
    .await;
}

#[tokio::test]
async fn escape_stops_the_answer_and_the_message_is_retried() {
    let model = Options {
        script: Script::new().when(
            "talk",
            [
                Behaviour::Drip {
                    chunk_every: Duration::from_millis(20),
                },
                Behaviour::reply("Briefly, then."),
            ],
        ),
        ..Options::default()
    };
    let builder = TestApp::builder().model(model).worker("--heartbeat-ms=100");
    BrowserTest::run(builder, async |test| {
        let (_, page) = test.signed_in_user().await;
        page.send_message("talk").await;
        page.wait_for(
            "the first words",
            "document.querySelector('.turn[data-state=running] .answer')?.innerText.includes('drip drip')",
        )
        .await;

        page.press(Key::Escape).await;
        page.wait_for_turn("cancelled").await;
        assert_eq!(page.texts(".status .callout span").await, ["Stopped."]);
        page.wait_for("no Stop button", "document.querySelector('#stop').hidden")
            .await;

        page.click(".retry").await;
        page.wait_for_answer("Briefly, then.").await;
        assert_eq!(page.answers().await, ["Briefly, then."]);
        page.wait_for_count(".retry", 0).await;
    })
    .await;
}

#[tokio::test]
async fn escape_in_the_task_field_does_not_stop_the_answer() {
    let gate = Gate::new();
    BrowserTest::run(TestApp::builder(), async |test| {
        test.app.model.script(gated_script(&gate));
        let (_, page) = test.signed_in_user().await;
        page.send_message("wait").await;
        gate.wait_arrived(1).await;
        page.wait_for("the Stop button", "!document.querySelector('#stop').hidden")
            .await;

        page.click("[aria-label='New task']").await;
        page.press(Key::Escape).await;

        // The page disables the button as soon as it stops a run.
        assert_eq!(
            page.js("return document.querySelector('#stop').disabled").await,
            false
        );
        gate.release();
        page.wait_for_answer(GATED_ANSWER).await;
    })
    .await;
}

/// A model that rejects the first hello and answers the second.
fn fails_once() -> Options {
    Options {
        script: Script::new().when(
            "hello",
            [Behaviour::status(400), Behaviour::reply("Hello again.")],
        ),
        ..Options::default()
    }
}

#[tokio::test]
async fn failed_run_shows_the_reason_and_is_retried_after_a_reload() {
    BrowserTest::run(TestApp::builder().model(fails_once()), async |test| {
        let (_, page) = test.signed_in_user().await;
        page.send_message("hello").await;
        page.wait_for_count(".turn[data-state=failed] .callout.bad", 1)
            .await;

        page.reload().await;
        page.wait_for_count(".turn[data-state=failed] .callout.bad", 1)
            .await;
        assert_eq!(
            page.texts(".failure > p").await,
            ["Errand couldn’t answer this message."]
        );
        page.click(".failure summary").await;
        let details = page.texts(".failure details p").await.remove(0);
        assert!(details.contains("status 400"), "{details}");
        page.screenshot("failed").await;

        page.click(".retry").await;
        page.wait_for_answer("Hello again.").await;
        assert_eq!(page.texts(".turn").await.len(), 1);
    })
    .await;
}

/// Events often arrive before the response to the request that caused them.
#[tokio::test]
async fn retry_that_finishes_before_its_response_shows_the_answer() {
    BrowserTest::run(TestApp::builder().model(fails_once()), async |test| {
        let (_, page) = test.signed_in_user().await;
        page.send_message("hello").await;
        page.wait_for_count(".retry", 1).await;

        page.hold_responses("/retry$").await;
        page.click(".retry").await;
        page.wait_for_answer("Hello again.").await;
        page.wait_for_held_response().await;
        page.release_responses().await;

        assert_eq!(
            page.texts(".turn[data-state=succeeded] .answer").await,
            ["Hello again."]
        );
    })
    .await;
}

#[tokio::test]
async fn messages_survive_an_api_restart() {
    let gate = Gate::new();
    BrowserTest::run(restartable_api(), async |test| {
        test.allow_console_errors("net::ERR_");
        test.allow_console_errors("WebSocket connection to");
        // Given a run in progress.
        let script = gated_script(&gate).when("offline", [Behaviour::reply("Received.")]);
        test.app.model.script(script);
        let (user, page) = test.signed_in_user().await;
        page.send_message("wait").await;
        gate.wait_arrived(1).await;
        page.wait_for_turn("running").await;

        // When the API goes down, a new message is kept and a draft is too.
        test.app.stop_api(0).await;
        page.wait_for("the banner", "!document.querySelector('.banner').hidden")
            .await;
        page.send_message("sent while offline").await;
        page.wait_for(
            "the unsent message",
            "document.querySelector('.turn[data-state=sending] .delivery')?.innerText.startsWith('Not sent yet')",
        )
        .await;
        page.screenshot("offline").await;
        page.type_into("#message", "a draf").await;
        gate.release();

        // When it is back, everything arrives exactly once.
        test.app.add_api().await;
        page.wait_for_answered_messages(2).await;
        page.wait_for("no banner", "document.querySelector('.banner').hidden")
            .await;
        assert_eq!(page.messages().await, ["wait", "sent while offline"]);
        assert_eq!(page.answers().await, [GATED_ANSWER, "Received."]);
        page.reload().await;
        page.wait_for_answered_messages(2).await;
        assert_eq!(
            page.js("return document.querySelector('#message').value").await,
            "a draf"
        );
        assert_eq!(stored_messages(&user, &page).await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn message_without_acknowledgement_is_sent_again_with_its_key_after_a_reload() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (user, page) = test.signed_in_user().await;
        page.send_message("Add a task to buy milk").await;
        page.wait_for_answered_messages(1).await;

        // Given a message that the server has accepted, in the outbox of a page that never received the acknowledgement.
        let key = "page-unacknowledged";
        let request = user
            .request(reqwest::Method::POST, "/chat")
            .header("idempotency-key", key)
            .json(&json!({"message": "Add a task to buy bread", "conversation_id": null}));
        assert_eq!(Reply::read(request).await.status, 200);
        let outbox = json!([{
            "key": key, "thread": "new-1", "conversationId": null, "text": "Add a task to buy bread",
            "at": "2026-01-01T00:00:00Z",
        }]);
        let storage_key = format!("errand.{}.outbox", user.id);
        page.js(&format!(
            "localStorage.setItem('{storage_key}', {})",
            json!(outbox.to_string())
        ))
        .await;

        page.open("#/").await;

        // Then the page shows the message and its answer, and no second run exists.
        page.wait_for_answered_messages(1).await;
        assert_eq!(page.messages().await, ["Add a task to buy bread"]);
        page.wait_for(
            "an empty outbox",
            &format!("localStorage.getItem('{storage_key}') === null"),
        )
        .await;
        page.wait_for_count(".task", 2).await;
        assert_eq!(test.app.database.count("SELECT count(*) FROM runs").await, 2);
    })
    .await;
}
