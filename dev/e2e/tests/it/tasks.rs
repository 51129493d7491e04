//! The task panel, and renaming, deleting and scrolling through conversations.

use errand_model::Gate;
use errand_testkit::{TestApp, User};
use serde_json::json;
use thirtyfour::Key;

use crate::{
    browser_test::{BrowserTest, GATED_ANSWER, gated_script},
    page::Page,
};

/// How many pixels of the conversation are below the visible part.
const PIXELS_BELOW: &str = "(({scrollTop, scrollHeight, clientHeight}) => scrollHeight - scrollTop - clientHeight)(document.querySelector('.scroller'))";

/// Creates a conversation with this many answered messages, `Hello number 0` and so on. Returns its path.
async fn long_conversation(user: &User, messages: usize) -> String {
    let id = user.chat("Hello number 0").await.id("conversation_id");
    for number in 1..messages {
        user.chat_in(id, &format!("Hello number {number}")).await;
    }
    format!("#/c/{id}")
}

async fn wait_until_end_is_visible(page: &Page) {
    page.wait_for(
        "the end of the conversation",
        &format!("document.querySelector('.bubble') && {PIXELS_BELOW} < 5"),
    )
    .await;
}

async fn scroll_to_top(page: &Page) {
    page.js("document.querySelector('.scroller').scrollTop = 0").await;
}

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

#[tokio::test]
async fn scrolling_up_loads_older_messages_page_by_page() {
    let builder = TestApp::builder().api("--rate-limit-chat-per-minute=0");
    BrowserTest::run(builder, async |test| {
        let (user, page) = test.signed_in_user().await;
        let conversation = long_conversation(&user, 45).await;

        // The newest page is shown first, at its end.
        page.open(&conversation).await;
        page.wait_for(
            "the newest message",
            "[...document.querySelectorAll('.bubble')].at(-1)?.innerText === 'Hello number 44'",
        )
        .await;
        wait_until_end_is_visible(&page).await;
        assert_eq!(page.messages().await.len(), 20);

        for loaded in [40, 45] {
            scroll_to_top(&page).await;
            page.wait_for_count(".bubble", loaded).await;
        }
        let all: Vec<_> = (0..45).map(|number| format!("Hello number {number}")).collect();
        assert_eq!(page.messages().await, all);
        page.wait_for(
            "no button for older messages",
            "document.querySelector('.older').hidden",
        )
        .await;
    })
    .await;
}

/// After the messages, the page requests the state of open runs, which can take a while.
#[tokio::test]
async fn scroll_position_is_kept_while_a_conversation_is_still_loading() {
    let gate = Gate::new();
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given a long conversation with an open run, whose state does not arrive.
        test.app.model.script(gated_script(&gate));
        let (user, page) = test.signed_in_user().await;
        let conversation = long_conversation(&user, 25).await;
        let id = conversation.strip_prefix("#/c/").unwrap().parse().unwrap();
        user.chat_async(Some(id), "wait").await;
        gate.wait_arrived(1).await;
        page.hold_responses("/runs/[0-9a-f-]{36}\\?wait=0$").await;
        page.js(&format!("location.hash = '{conversation}'")).await;
        page.wait_for_held_response().await;
        wait_until_end_is_visible(&page).await;

        // When the user scrolls up before it arrives.
        scroll_to_top(&page).await;
        page.wait_for_count(".bubble", 26).await;
        page.release_responses().await;
        page.wait_for_count(".scroller > .working", 0).await;

        // Then the page does not scroll back to the end.
        let pixels_below = page.js(&format!("return {PIXELS_BELOW}")).await;
        assert!(pixels_below.as_f64().unwrap() > 1000.0, "{pixels_below}");
        gate.release();
        page.wait_for_answer(GATED_ANSWER).await;
    })
    .await;
}
