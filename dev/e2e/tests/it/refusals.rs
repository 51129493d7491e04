//! What the page says when the server refuses.

use errand_testkit::TestApp;
use thirtyfour::Key;

use crate::stage::Stage;

#[tokio::test]
async fn a_message_that_was_too_many_waits_and_is_kept() {
    let builder = TestApp::builder().api("--rate-limit-chat-per-minute=1");
    Stage::play(builder, async |stage| {
        stage.expect("429");
        let (_, page) = stage.user().await;
        page.say("Add a task to buy milk").await;
        page.until_turns(1).await;
        page.say("Add a task to buy bread").await;
        page.until(
            "why it waits",
            "[...document.querySelectorAll('.fate')].at(-1)?.innerText.includes('second')",
        )
        .await;
        page.reload().await;
        page.until("both messages", "document.querySelectorAll('.turn').length === 2")
            .await;
        assert_eq!(
            page.texts(".bubble").await,
            ["Add a task to buy milk", "Add a task to buy bread"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_conversation_that_is_not_there_is_said_to_be_so() {
    Stage::play(TestApp::builder(), async |stage| {
        stage.expect("404");
        let (_, page) = stage.user().await;
        page.open("#/c/01a204ea-bc09-77a1-9009-8f5facfd0e44").await;
        page.until(
            "what is wrong",
            "document.querySelector('[role=alert] h2')?.innerText.includes('not found')",
        )
        .await;
        page.click("[role=alert] .primary").await;
        page.until("a new chat", "document.querySelector('#message')")
            .await;
    })
    .await;
}

#[tokio::test]
async fn the_door_says_what_is_wrong_and_where() {
    Stage::play(TestApp::builder(), async |stage| {
        stage.expect("/auth/");
        let user = stage.app.user("Ada").await;
        let page = stage.device().await;
        page.open("").await;
        page.until("the door", "document.querySelector('[name=password]')")
            .await;
        page.fill("[name=email]", &user.email).await;
        page.fill("[name=password]", "not the password").await;
        page.press(Key::Enter).await;
        page.until(
            "why not",
            "document.querySelector('[role=alert]')?.innerText.includes('wrong')",
        )
        .await;
        page.click(".link").await;
        page.fill("[name=name]", "Ada").await;
        page.fill("[name=email]", &user.email).await;
        page.fill("[name=password]", "correct horse").await;
        page.press(Key::Enter).await;
        page.until(
            "why not",
            "document.querySelector('[role=alert]')?.innerText.includes('taken')",
        )
        .await;
        page.fill("[name=email]", "ada@").await;
        page.js("document.querySelector('form').noValidate = true").await;
        page.press(Key::Enter).await;
        page.until(
            "which field",
            "document.querySelector('[name=email][aria-invalid]')",
        )
        .await;
        page.until(
            "why not",
            "document.querySelector('[role=alert]').innerText.startsWith('E-mail')",
        )
        .await;
    })
    .await;
}
