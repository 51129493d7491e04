//! The task panel, and renaming and deleting conversations.

use errand_testkit::TestApp;
use serde_json::json;
use thirtyfour::Key;

use crate::browser_test::BrowserTest;

#[tokio::test]
async fn tasks_are_added_edited_completed_and_deleted_by_hand() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (user, page) = test.signed_in_user().await;

        page.type_into("[aria-label='New task']", "buy milk").await;
        page.press(Key::Enter).await;
        page.wait_for(
            "the task",
            "document.querySelector('[data-task=\"1\"] .task-title')?.innerText === 'buy milk'",
        )
        .await;

        page.click("[aria-label='Edit buy milk']").await;
        page.type_into("[aria-label='Title']", "buy oat milk").await;
        page.type_into("[aria-label='Note']", "two litres").await;
        page.click(".task-form .primary").await;
        page.wait_for(
            "the note",
            "document.querySelector('.task-note')?.innerText === 'two litres'",
        )
        .await;

        page.click("[data-task='1'] input").await;
        page.wait_for_count(".completed-tasks .task.completed", 1).await;
        let task = user.get("/tasks/1").await;
        assert_eq!(
            (
                task.text("title"),
                task.text("description"),
                &task.body["completed"]
            ),
            ("buy oat milk", "two litres", &json!(true))
        );

        page.click(".completed-tasks summary").await;
        page.click("[aria-label='Delete buy oat milk']").await;
        page.confirm_dialog().await;
        page.wait_for_count(".task", 0).await;
        assert_eq!(user.get("/tasks/1").await.status, 404);
    })
    .await;
}

#[tokio::test]
async fn conversation_is_renamed_and_deleted() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (user, page) = test.signed_in_user().await;
        page.send_message("Add a task to buy milk").await;
        page.wait_for_answered_messages(1).await;

        page.click("[aria-label^='Rename']").await;
        page.type_into("dialog input", "Shopping").await;
        page.press(Key::Enter).await;
        page.wait_for(
            "the new title",
            "document.querySelector('.title').innerText === 'Shopping'",
        )
        .await;
        assert_eq!(
            user.get("/conversations").await.body["items"][0]["title"],
            "Shopping"
        );

        page.click("[aria-label='Delete Shopping']").await;
        page.confirm_dialog().await;
        page.wait_for(
            "a new chat",
            "location.hash === '#/' && document.querySelector('.empty h2')",
        )
        .await;
        assert_eq!(user.get("/conversations").await.body["items"], json!([]));
    })
    .await;
}
