//! Answers that are interrupted: by a reload, by their user, by a model's fault, by an API that goes away.

use std::{net::TcpListener, time::Duration};

use errand_model::{Behaviour, Gate, Options, Script};
use errand_testkit::TestApp;
use thirtyfour::Key;

use crate::stage::Stage;

#[tokio::test]
async fn a_reload_before_the_first_word_ends_with_the_answer_once() {
    let gate = Gate::new();
    Stage::play(TestApp::builder(), async |stage| {
        stage
            .app
            .model
            .script(Script::new().when("wait", [Behaviour::reply("It was worth it.").behind(&gate)]));
        let (_, page) = stage.user().await;
        page.say("wait").await;
        gate.wait_arrived(1).await;
        page.reload().await;
        page.until(
            "the run goes on",
            "document.querySelector('.turn[data-state=running] .working')",
        )
        .await;
        gate.release();
        page.until_answered("It was worth it.").await;
        assert_eq!(page.texts(".bubble").await, ["wait"]);
        assert_eq!(page.texts(".answer").await, ["It was worth it."]);
        page.until("nothing to stop", "document.querySelector('#stop').hidden")
            .await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_grows_and_a_reload_in_its_middle_ends_with_the_stored_text() {
    let words = (0..120).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
    let model = Options {
        token_delay: Duration::from_millis(25),
        script: Script::new().when("talk", [Behaviour::reply(&words)]),
        ..Options::default()
    };
    Stage::play(TestApp::builder().model(model), async |stage| {
        let (user, page) = stage.user().await;
        page.say("talk").await;
        let grown = |words: &str| {
            format!(
                "document.querySelector('.turn[data-state=running] .answer')?.innerText.includes('{words}') \
                 && !document.querySelector('.answer').innerText.includes('word119')"
            )
        };
        page.until("the first words", &grown("word2")).await;
        page.until("more words", &grown("word12")).await;
        page.reload().await;
        page.until("the words so far", &grown("word13")).await;
        page.until_answered("word119").await;
        assert_eq!(page.texts(".answer").await, [words.as_str()]);
        let id = page.js("return location.hash.slice(4)").await;
        let stored = user
            .get(&format!("/conversations/{}/messages", id.as_str().unwrap()))
            .await;
        assert_eq!(stored.body["items"][1]["content"], words.as_str());
    })
    .await;
}

#[tokio::test]
async fn escape_stops_an_answer_and_it_can_be_tried_again() {
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
    Stage::play(builder, async |stage| {
        let (_, page) = stage.user().await;
        page.say("talk").await;
        page.until(
            "a word",
            "document.querySelector('.turn[data-state=running] .answer')?.innerText.includes('drip drip')",
        )
        .await;
        page.press(Key::Escape).await;
        page.until("the end", "document.querySelector('.turn[data-state=cancelled]')")
            .await;
        assert_eq!(page.texts(".foot .callout span").await, ["Stopped."]);
        page.until("no Stop", "document.querySelector('#stop').hidden")
            .await;
        page.click(".retry").await;
        page.until_answered("Briefly, then.").await;
        assert_eq!(page.texts(".answer").await, ["Briefly, then."]);
        page.until("no Try again", "!document.querySelector('.retry')")
            .await;
    })
    .await;
}

/// A model that refuses the first hello and answers the second.
fn refuses_once() -> Options {
    Options {
        script: Script::new().when(
            "hello",
            [Behaviour::status(400), Behaviour::reply("Hello again.")],
        ),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_failed_run_says_why_and_can_be_tried_again_after_a_reload() {
    Stage::play(TestApp::builder().model(refuses_once()), async |stage| {
        let (_, page) = stage.user().await;
        page.say("hello").await;
        page.until(
            "the failure",
            "document.querySelector('.turn[data-state=failed] .callout.bad')",
        )
        .await;
        page.reload().await;
        page.until(
            "the failure",
            "document.querySelector('.turn[data-state=failed] .callout.bad')",
        )
        .await;
        let said = page.texts(".foot .callout span").await.remove(0);
        assert!(said.starts_with("Agent execution failed"), "{said}");
        page.picture("failed").await;
        page.click(".retry").await;
        page.until_answered("Hello again.").await;
        assert_eq!(page.texts(".turn").await.len(), 1);
    })
    .await;
}

/// The socket is often faster than the answer to the request that began it all.
#[tokio::test]
async fn a_retry_whose_run_ends_before_it_is_answered_shows_the_end() {
    Stage::play(TestApp::builder().model(refuses_once()), async |stage| {
        let (_, page) = stage.user().await;
        page.say("hello").await;
        page.until("the failure", "document.querySelector('.retry')").await;
        // Holds the answer back, already read, so that the page has taken it one task after it is let go.
        page.js(
            "const send = window.fetch;
             window.fetch = async (path, ...about) => {
                 const answer = await send(path, ...about);
                 if (!path.endsWith('/retry')) return answer;
                 const text = await answer.text();
                 await new Promise((go) => { window.letGo = () => { go(); setTimeout(() => { window.gone = true; }); }; });
                 return { ok: answer.ok, status: answer.status, headers: answer.headers, text: async () => text };
             };",
        )
        .await;
        page.click(".retry").await;
        page.until_answered("Hello again.").await;
        page.until("the answer is held", "window.letGo").await;
        page.js("window.letGo()").await;
        page.until("the answer is taken", "window.gone").await;
        assert_eq!(page.texts(".turn[data-state=succeeded] .answer").await, ["Hello again."]);
    })
    .await;
}

/// A port that nothing listens at, for an API that comes back where it was.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[tokio::test]
async fn an_api_that_goes_and_comes_back_loses_and_doubles_nothing() {
    let gate = Gate::new();
    let builder = TestApp::builder().api(format!("--listen-addr=127.0.0.1:{}", free_port()));
    Stage::play(builder, async |stage| {
        stage.expect("net::ERR_");
        stage.expect("WebSocket connection to");
        stage.app.model.script(
            Script::new()
                .when("wait", [Behaviour::reply("It was worth it.").behind(&gate)])
                .when("while", [Behaviour::reply("Heard you.")]),
        );
        let (user, page) = stage.user().await;
        page.say("wait").await;
        gate.wait_arrived(1).await;
        page.until("the run", "document.querySelector('.turn[data-state=running]')")
            .await;
        stage.app.stop_api(0).await;
        page.until("the banner", "!document.querySelector('.banner').hidden")
            .await;
        page.say("said while it was away").await;
        page.until(
            "it waits",
            "document.querySelector('.turn[data-state=sending] .fate')?.innerText.startsWith('Not sent yet')",
        )
        .await;
        page.picture("away").await;
        page.fill("#message", "half a thou").await;
        // A page that can't be loaded is no page, so only the draft's way over a reload is left for later.
        gate.release();
        stage.app.add_api().await;
        page.until_turns(2).await;
        page.until("no banner", "document.querySelector('.banner').hidden")
            .await;
        assert_eq!(page.texts(".bubble").await, ["wait", "said while it was away"]);
        assert_eq!(page.texts(".answer").await, ["It was worth it.", "Heard you."]);
        page.reload().await;
        page.until_turns(2).await;
        assert_eq!(
            page.js("return document.querySelector('#message').value").await,
            "half a thou"
        );
        let id = page.js("return location.hash.slice(4)").await;
        let stored = user
            .get(&format!("/conversations/{}/messages", id.as_str().unwrap()))
            .await;
        assert_eq!(stored.body["items"].as_array().unwrap().len(), 4);
    })
    .await;
}

#[tokio::test]
async fn a_message_whose_word_was_lost_is_sent_again_under_its_key_after_a_reload() {
    let builder = TestApp::builder().api(format!("--listen-addr=127.0.0.1:{}", free_port()));
    Stage::play(builder, async |stage| {
        let (user, page) = stage.user().await;
        page.say("Add a task to buy milk").await;
        page.until_turns(1).await;
        // As if the page had been left before it heard that the message was taken.
        let key = "page-lost-word";
        let body = serde_json::json!({"message": "Add a task to buy bread", "conversation_id": null});
        let first = user
            .request(reqwest::Method::POST, "/chat")
            .header("idempotency-key", key)
            .json(&body);
        assert_eq!(errand_testkit::Reply::read(first).await.status, 200);
        let item = serde_json::json!([{
            "key": key, "thread": "new-1", "conversationId": null, "text": "Add a task to buy bread",
            "at": "2026-01-01T00:00:00Z",
        }]);
        page.js(&format!(
            "localStorage.setItem('errand.{}.outbox', {})",
            user.id,
            serde_json::json!(item.to_string())
        ))
        .await;
        page.open("#/").await;
        page.until_turns(1).await;
        assert_eq!(page.texts(".bubble").await, ["Add a task to buy bread"]);
        page.until(
            "an empty outbox",
            &format!("localStorage.getItem('errand.{}.outbox') === null", user.id),
        )
        .await;
        page.until(
            "both tasks, once",
            "document.querySelectorAll('.task').length === 2",
        )
        .await;
        assert_eq!(stage.app.database.count("SELECT count(*) FROM runs").await, 2);
    })
    .await;
}
