//! The main chat: from the door to an answer, with its tool calls and the tasks it changed.

use errand_testkit::TestApp;
use thirtyfour::Key;

use crate::stage::Stage;

#[tokio::test]
async fn a_new_user_registers_chats_and_sees_the_task() {
    Stage::play(TestApp::builder(), async |stage| {
        let page = stage.device().await;
        page.open("").await;
        page.until("the door", "document.querySelector('[name=email]')")
            .await;
        page.picture("door").await;
        page.click(".link").await;
        page.fill("[name=name]", "Ada").await;
        page.fill("[name=email]", "ada@example.com").await;
        page.fill("[name=password]", "correct horse").await;
        page.press(Key::Enter).await;
        page.until_in().await;
        page.picture("empty").await;

        page.say("Add a task to buy milk").await;
        page.until_answered("buy milk").await;
        page.until(
            "the task",
            "document.querySelector('.task-title')?.innerText === 'buy milk'",
        )
        .await;
        assert_eq!(page.texts(".bubble").await, ["Add a task to buy milk"]);
        assert_eq!(page.texts(".tool-words").await, ["Added a task"]);
        page.click(".tool summary").await;
        page.until(
            "the call",
            "document.querySelector('.tool pre')?.innerText.includes('\"buy milk\"')",
        )
        .await;
        page.picture("chat").await;

        page.say("Show me all my tasks").await;
        page.until_turns(2).await;
        page.until(
            "the conversation in the list",
            "document.querySelectorAll('.conversation.current').length === 1",
        )
        .await;
    })
    .await;
}
