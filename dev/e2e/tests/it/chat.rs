//! The main story: a new user registers, sends a message and sees the answer, its tool calls and the changed tasks.

use errand_testkit::TestApp;
use thirtyfour::Key;

use crate::browser_test::BrowserTest;

#[tokio::test]
async fn new_user_registers_and_adds_a_task_by_chat() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let page = test.new_device().await;

        // Register.
        page.open("").await;
        page.wait_for_sign_in_form().await;
        page.screenshot("sign-in").await;
        page.click(".link").await;
        page.type_into("[name=name]", "Ada").await;
        page.type_into("[name=email]", "ada@example.com").await;
        page.type_into("[name=password]", "correct horse").await;
        page.press(Key::Enter).await;
        page.wait_until_signed_in().await;
        page.screenshot("empty").await;

        // Add a task.
        page.send_message("Add a task to buy milk").await;
        page.wait_for_answer("buy milk").await;
        page.wait_for(
            "the task",
            "document.querySelector('.task-title')?.innerText === 'buy milk'",
        )
        .await;
        assert_eq!(page.messages().await, ["Add a task to buy milk"]);

        // Look at the tool call.
        assert_eq!(page.texts(".tool-label").await, ["Added a task"]);
        page.click(".tool summary").await;
        page.wait_for(
            "the arguments",
            "document.querySelector('.tool pre')?.innerText.includes('\"buy milk\"')",
        )
        .await;
        page.screenshot("chat").await;

        // Continue the conversation.
        page.send_message("Show me all my tasks").await;
        page.wait_for_answered_messages(2).await;
        page.wait_for_count(".conversation.current", 1).await;
    })
    .await;
}
