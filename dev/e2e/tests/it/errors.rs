//! What the page shows when the server rejects a request.

use errand_testkit::TestApp;
use thirtyfour::Key;

use crate::{browser_test::BrowserTest, page::Page};

/// Waits until the error message contains a text.
async fn wait_for_error(page: &Page, text: &str) {
    page.wait_for(
        &format!("an error with {text}"),
        &format!("document.querySelector('[role=alert]')?.innerText.includes('{text}')"),
    )
    .await;
}

#[tokio::test]
async fn message_over_the_rate_limit_is_kept_and_sent_later() {
    let builder = TestApp::builder().api("--rate-limit-chat-per-minute=1");
    BrowserTest::run(builder, async |test| {
        test.allow_console_errors("429");
        let (_, page) = test.signed_in_user().await;
        page.send_message("Add a task to buy milk").await;
        page.wait_for_answered_messages(1).await;

        page.send_message("Add a task to buy bread").await;
        page.wait_for(
            "the time of the next attempt",
            "[...document.querySelectorAll('.delivery')].at(-1)?.innerText.includes('second')",
        )
        .await;

        page.reload().await;
        page.wait_for_count(".turn", 2).await;
        assert_eq!(
            page.messages().await,
            ["Add a task to buy milk", "Add a task to buy bread"]
        );
    })
    .await;
}

#[tokio::test]
async fn missing_conversation_is_reported() {
    BrowserTest::run(TestApp::builder(), async |test| {
        test.allow_console_errors("404");
        let (_, page) = test.signed_in_user().await;

        page.open("#/c/01a204ea-bc09-77a1-9009-8f5facfd0e44").await;
        wait_for_error(&page, "not found").await;

        page.click("[role=alert] .primary").await;
        page.wait_for("a new chat", "document.querySelector('#message')")
            .await;
    })
    .await;
}

#[tokio::test]
async fn sign_in_form_says_what_is_wrong() {
    BrowserTest::run(TestApp::builder(), async |test| {
        test.allow_console_errors("/auth/");
        let user = test.app.user("Ada").await;
        let page = test.new_device().await;
        page.open("").await;
        page.wait_for_sign_in_form().await;

        // Wrong password.
        page.type_into("[name=email]", &user.email).await;
        page.type_into("[name=password]", "not the password").await;
        page.press(Key::Enter).await;
        wait_for_error(&page, "wrong").await;

        // E-mail of another account.
        page.click(".link").await;
        page.type_into("[name=name]", "Ada").await;
        page.type_into("[name=email]", &user.email).await;
        page.type_into("[name=password]", "correct horse").await;
        page.press(Key::Enter).await;
        wait_for_error(&page, "already registered").await;

        // Invalid e-mail. The browser's own check is off, so that the server's answer is shown.
        page.type_into("[name=email]", "ada@").await;
        page.js("document.querySelector('form').noValidate = true").await;
        page.press(Key::Enter).await;
        page.wait_for_count("[name=email][aria-invalid]", 1).await;
        wait_for_error(&page, "E-mail").await;
    })
    .await;
}

#[tokio::test]
async fn message_box_counts_the_characters_left() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (_, page) = test.signed_in_user().await;
        page.type_into("#message", &"x".repeat(2001)).await;

        for text in [
            "1 character too many",
            "0 characters left",
            "1 character left",
            "2 characters left",
        ] {
            assert_eq!(page.texts("#characters-left").await, [text]);
            page.press(Key::Backspace).await;
        }
    })
    .await;
}
