//! Tool calls that wait for the user's approval.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{Builder, TestApp};
use serde_json::json;
use thirtyfour::Key;

use crate::{browser_test::BrowserTest, page::Page};

/// Errand with approval required to delete a task.
fn deletion_needs_approval() -> Builder {
    TestApp::builder().worker("--approval-required-tools=delete_task")
}

fn delete_task(task_id: i64) -> Behaviour {
    Behaviour::ToolCalls(vec![(
        "delete_task".to_owned(),
        json!({"task_id": task_id}).to_string(),
    )])
}

async fn wait_for_approval_request(page: &Page) {
    page.wait_for(
        "the approval request",
        "document.querySelector('.turn[data-state=waiting_approval] .approval')",
    )
    .await;
}

#[tokio::test]
async fn tool_call_runs_only_after_approval() {
    BrowserTest::run(deletion_needs_approval(), async |test| {
        test.app.model.script(Script::new().then([
            delete_task(1),
            Behaviour::reply("The milk is deleted."),
            delete_task(2),
            Behaviour::reply("The eggs are kept."),
        ]));
        let (user, page) = test.signed_in_user().await;
        for title in ["milk", "eggs"] {
            user.post("/tasks", json!({"title": title})).await;
        }

        // The request shows the exact arguments, and is still there after a reload.
        page.send_message("Delete the milk").await;
        wait_for_approval_request(&page).await;
        assert_eq!(page.texts(".approval pre").await, ["{\n  \"task_id\": 1\n}"]);
        page.reload().await;
        wait_for_approval_request(&page).await;
        page.screenshot("approval").await;
        assert_eq!(
            user.get("/tasks").await.body["items"].as_array().unwrap().len(),
            2
        );

        // An approved call runs.
        page.click(".approval .approve").await;
        page.wait_for_answer("The milk is deleted.").await;
        assert_eq!(page.texts(".tool-label").await, ["Deleted a task"]);
        page.wait_for_count(".approval", 0).await;

        // A declined call does not. This time with the keyboard.
        page.send_message("Delete the eggs").await;
        wait_for_approval_request(&page).await;
        page.js("document.querySelector('.approval .decline').focus()")
            .await;
        page.press(Key::Enter).await;
        page.wait_for_answer("The eggs are kept.").await;
        let labels = page.texts(".tool-label").await;
        assert_eq!(
            labels.last().map(String::as_str),
            Some("Deleting a task: declined")
        );
        let tasks = user.get("/tasks").await;
        assert_eq!(tasks.body["items"][0]["title"], "eggs", "{}", tasks.body);
    })
    .await;
}

#[tokio::test]
async fn request_disappears_when_another_device_approves_it() {
    BrowserTest::run(deletion_needs_approval(), async |test| {
        test.app
            .model
            .script(Script::new().then([delete_task(1), Behaviour::reply("The milk is deleted.")]));
        let (user, page) = test.signed_in_user().await;
        user.post("/tasks", json!({"title": "milk"})).await;
        page.send_message("Delete the milk").await;
        wait_for_approval_request(&page).await;

        let call = page
            .js("return document.querySelector('.approval').dataset.call")
            .await;
        let run = test
            .app
            .database
            .texts("SELECT id::text FROM runs")
            .await
            .remove(0);
        let path = format!("/runs/{run}/approvals/{}", call.as_str().unwrap());
        user.post(&path, json!({"approve": true})).await;

        page.wait_for_answer("The milk is deleted.").await;
        page.wait_for_count(".approval", 0).await;
    })
    .await;
}
