//! Calls that wait for the user: asked about on the page, with the keyboard or the mouse, also after a reload.

use errand_model::{Behaviour, Script};
use errand_testkit::TestApp;
use serde_json::json;
use thirtyfour::Key;

use crate::stage::Stage;

const ASKED: &str = "document.querySelector('.turn[data-state=waiting_approval] .approval')";

fn delete(task_id: i64) -> Behaviour {
    Behaviour::ToolCalls(vec![(
        "delete_task".to_owned(),
        json!({"task_id": task_id}).to_string(),
    )])
}

#[tokio::test]
async fn a_call_is_shown_as_it_is_and_made_only_once_it_is_approved() {
    let builder = TestApp::builder().worker("--approval-required-tools=delete_task");
    Stage::play(builder, async |stage| {
        stage.app.model.script(Script::new().then([
            delete(1),
            Behaviour::reply("It is gone."),
            delete(2),
            Behaviour::reply("Then it stays."),
        ]));
        let (user, page) = stage.user().await;
        for title in ["milk", "eggs"] {
            user.post("/tasks", json!({"title": title})).await;
        }
        page.say("Delete the milk").await;
        page.until("the question", ASKED).await;
        assert_eq!(page.texts(".approval pre").await, ["{\n  \"task_id\": 1\n}"]);
        page.reload().await;
        page.until("the question, again", ASKED).await;
        page.picture("approval").await;
        assert_eq!(
            user.get("/tasks").await.body["items"].as_array().unwrap().len(),
            2
        );
        page.click(".approval .approve").await;
        page.until_answered("It is gone.").await;
        assert_eq!(page.texts(".tool-words").await, ["Deleted a task"]);
        page.until("no question", "!document.querySelector('.approval')")
            .await;

        page.say("Delete the eggs").await;
        page.until("another question", ASKED).await;
        page.js("document.querySelector('.approval .decline').focus()")
            .await;
        page.press(Key::Enter).await;
        page.until_answered("Then it stays.").await;
        let words = page.texts(".tool-words").await;
        assert_eq!(
            words.last().map(String::as_str),
            Some("Deleting a task: declined")
        );
        let left = user.get("/tasks").await;
        assert_eq!(left.body["items"][0]["title"], "eggs", "{}", left.body);
    })
    .await;
}

#[tokio::test]
async fn what_one_device_has_decided_another_asks_no_more() {
    let builder = TestApp::builder().worker("--approval-required-tools=delete_task");
    Stage::play(builder, async |stage| {
        stage
            .app
            .model
            .script(Script::new().then([delete(1), Behaviour::reply("It is gone.")]));
        let (user, page) = stage.user().await;
        user.post("/tasks", json!({"title": "milk"})).await;
        page.say("Delete the milk").await;
        page.until("the question", ASKED).await;
        let call = page
            .js("return document.querySelector('.approval').dataset.call")
            .await;
        let run = stage
            .app
            .database
            .texts("SELECT id::text FROM runs")
            .await
            .remove(0);
        let path = format!("/runs/{run}/approvals/{}", call.as_str().unwrap());
        user.post(&path, json!({"approve": true})).await;
        page.until_answered("It is gone.").await;
        page.until("no question", "!document.querySelector('.approval')")
            .await;
    })
    .await;
}
