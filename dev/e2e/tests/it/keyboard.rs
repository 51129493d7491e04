//! The chat page without a mouse.

use errand_testkit::TestApp;
use thirtyfour::Key;

use crate::browser_test::BrowserTest;

#[tokio::test]
async fn page_can_be_used_with_the_keyboard_alone() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (_, page) = test.signed_in_user().await;

        // Write a message of two lines.
        assert_eq!(page.focused_element().await, "Message");
        page.press("Add a task to buy milk").await;
        page.press(Key::Shift + Key::Enter).await;
        page.press("and bread").await;
        assert_eq!(
            page.js("return document.querySelector('#message').value")
                .await,
            "Add a task to buy milk\nand bread"
        );
        page.press(Key::Enter).await;
        page.wait_for_answered_messages(1).await;
        assert_eq!(page.focused_element().await, "Message");

        // Add a task and mark it as done.
        page.tab_to("New task").await;
        page.press("water the plants").await;
        page.press(Key::Enter).await;
        page.wait_for(
            "the task",
            "[...document.querySelectorAll('.task-title')].some((title) => title.innerText === 'water the plants')",
        )
        .await;
        page.tab_to("Done: water the plants").await;
        page.press(" ").await;
        page.wait_for_count(".task.completed", 1).await;

        // Skip the lists. The conversation stays open.
        page.reset_focus().await;
        page.tab_to("Skip to the message box").await;
        page.press(Key::Enter).await;
        page.wait_for("the message box", "document.activeElement.id === 'message'")
            .await;
        assert_eq!(
            page.messages().await,
            ["Add a task to buy milk\nand bread"]
        );

        // Escape cancels the deletion of the conversation.
        page.tab_back_to("Delete Chat").await;
        page.press(Key::Enter).await;
        page.wait_for_dialog().await;
        page.press(Key::Escape).await;
        page.wait_until_dialog_closed().await;
        assert_eq!(page.texts(".conversation").await.len(), 1);

        // Delete it.
        page.press(Key::Enter).await;
        page.wait_for_dialog().await;
        page.tab_to("Delete").await;
        page.press(Key::Enter).await;
        page.wait_for_count(".conversation", 0).await;
        page.wait_for("a new chat", "document.querySelector('.empty h2')")
            .await;
    })
    .await;
}
