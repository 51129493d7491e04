//! The task panel by hand, and conversations renamed and paged.

use errand_model::{Behaviour, Gate, Script};
use errand_testkit::TestApp;
use serde_json::json;
use thirtyfour::Key;

use crate::stage::Stage;

#[tokio::test]
async fn tasks_are_added_changed_done_and_deleted_by_hand() {
    Stage::play(TestApp::builder(), async |stage| {
        let (user, page) = stage.user().await;
        page.fill("[aria-label='New task']", "buy milk").await;
        page.press(Key::Enter).await;
        page.until(
            "the task",
            "document.querySelector('[data-task=\"1\"] .task-title')?.innerText === 'buy milk'",
        )
        .await;
        page.click("[aria-label='Edit buy milk']").await;
        page.fill("[aria-label='Title']", "buy oat milk").await;
        page.fill("[aria-label='Note']", "two litres").await;
        page.click(".task-form .primary").await;
        page.until(
            "the change",
            "document.querySelector('.task-note')?.innerText === 'two litres'",
        )
        .await;
        page.click("[data-task='1'] input").await;
        page.until(
            "it is done",
            "document.querySelector('.finished .task.completed')",
        )
        .await;
        let stored = user.get("/tasks/1").await;
        assert_eq!(
            (
                stored.text("title"),
                stored.text("description"),
                &stored.body["completed"]
            ),
            ("buy oat milk", "two litres", &json!(true))
        );
        page.click(".finished summary").await;
        page.click("[aria-label='Delete buy oat milk']").await;
        page.click("dialog .danger").await;
        page.until("no task", "!document.querySelector('.task')").await;
        assert_eq!(user.get("/tasks/1").await.status, 404);
    })
    .await;
}

#[tokio::test]
async fn a_conversation_is_renamed_and_deleted() {
    Stage::play(TestApp::builder(), async |stage| {
        let (user, page) = stage.user().await;
        page.say("Add a task to buy milk").await;
        page.until_turns(1).await;
        page.click("[aria-label^='Rename']").await;
        page.fill("dialog input", "Shopping").await;
        page.press(Key::Enter).await;
        page.until(
            "the title",
            "document.querySelector('.title').innerText === 'Shopping'",
        )
        .await;
        assert_eq!(
            user.get("/conversations").await.body["items"][0]["title"],
            "Shopping"
        );
        page.click("[aria-label='Delete Shopping']").await;
        page.click("dialog .danger").await;
        page.until(
            "a new chat",
            "location.hash === '#/' && document.querySelector('.empty h2')",
        )
        .await;
        assert_eq!(user.get("/conversations").await.body["items"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn history_is_read_upwards_page_by_page() {
    Stage::play(TestApp::builder().api("--rate-limit-chat-per-minute=0"), async |stage| {
        let (user, page) = stage.user().await;
        let first = user.chat("Hello number 0").await;
        let id = first.id("conversation_id");
        for number in 1..45 {
            user.chat_in(id, &format!("Hello number {number}")).await;
        }
        page.open(&format!("#/c/{id}")).await;
        page.until("the end", "[...document.querySelectorAll('.bubble')].at(-1)?.innerText === 'Hello number 44'").await;
        page.until("the end in sight", "(({scrollTop, scrollHeight, clientHeight}) => scrollHeight - scrollTop - clientHeight < 5)(document.querySelector('.scroller'))")
            .await;
        assert_eq!(page.texts(".bubble").await.len(), 20);
        for count in [40, 45] {
            page.js("document.querySelector('.scroller').scrollTop = 0").await;
            page.until("more", &format!("document.querySelectorAll('.bubble').length === {count}")).await;
        }
        let expected: Vec<_> = (0..45).map(|number| format!("Hello number {number}")).collect();
        assert_eq!(page.texts(".bubble").await, expected);
        page.until("no more", "document.querySelector('.older').hidden").await;
    })
    .await;
}

/// Opening a conversation ends with a look at what runs in it, which may take long.
#[tokio::test]
async fn whoever_scrolls_up_while_a_conversation_is_opened_stays_there() {
    const BELOW: &str = "(({scrollTop, scrollHeight, clientHeight}) => scrollHeight - scrollTop - clientHeight)(document.querySelector('.scroller'))";
    let gate = Gate::new();
    Stage::play(TestApp::builder(), async |stage| {
        stage
            .app
            .model
            .script(Script::new().when("wait", [Behaviour::reply("It was worth it.").behind(&gate)]));
        let (user, page) = stage.user().await;
        let id = user.chat("Hello number 0").await.id("conversation_id");
        for number in 1..25 {
            user.chat_in(id, &format!("Hello number {number}")).await;
        }
        user.chat_async(Some(id), "wait").await;
        gate.wait_arrived(1).await;
        page.js(r"const send = window.fetch;
              const free = new Promise((go) => { window.letGo = go; });
              window.fetch = async (path, ...about) => {
                  if (/\/runs\/[0-9a-f-]{36}\?wait=0$/.test(path)) {
                      window.held = true;
                      await free;
                  }
                  return send(path, ...about);
              };")
            .await;
        page.js(&format!("location.hash = '#/c/{id}'")).await;
        page.until("the look is held", "window.held").await;
        page.until(
            "the end in sight",
            &format!("document.querySelector('.bubble') && {BELOW} < 5"),
        )
        .await;
        page.js("document.querySelector('.scroller').scrollTop = 0").await;
        page.until(
            "earlier turns",
            "document.querySelectorAll('.bubble').length === 26",
        )
        .await;
        page.js("window.letGo()").await;
        page.until("it is open", "!document.querySelector('.scroller > .working')")
            .await;
        assert!(page.js(&format!("return {BELOW}")).await.as_f64().unwrap() > 1000.0);
        gate.release();
        page.until_answered("It was worth it.").await;
    })
    .await;
}
