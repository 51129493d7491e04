//! Long conversations: loading older messages, and which part of the conversation stays visible.

use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::{TestApp, User};
use serde_json::json;

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

#[tokio::test]
async fn answer_whose_question_is_not_loaded_yet_is_shown_first() {
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given 41 messages, because the last one has no answer. The newest page of 40 starts with the first answer.
        let script = Script::new()
            .when("first question", [Behaviour::reply("The first answer.")])
            .when("last question", [Behaviour::status(400)]);
        test.app.model.script(script);
        let (user, page) = test.signed_in_user().await;
        let id = user.chat("first question").await.id("conversation_id");
        for number in 1..20 {
            user.chat_in(id, &format!("Hello number {number}")).await;
        }
        user.chat_in(id, "last question").await;

        page.open(&format!("#/c/{id}")).await;
        wait_until_end_is_visible(&page).await;
        assert_eq!(page.messages().await.len(), 20);
        assert_eq!(page.answers().await[0], "The first answer.");

        // Its question appears above it.
        scroll_to_top(&page).await;
        page.wait_for_count(".bubble", 21).await;
        assert_eq!(page.messages().await[0], "first question");
        assert_eq!(page.answers().await[0], "The first answer.");
    })
    .await;
}

/// When the box grows, the page scrolls. That scroll event may be dispatched after the message has been added, when the end
/// is no longer near.
#[tokio::test]
async fn end_stays_visible_after_a_message_of_several_lines() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let script = Script::new().when("long", [Behaviour::reply("A short answer.")]);
        test.app.model.script(script);
        let (user, page) = test.signed_in_user().await;
        let conversation = long_conversation(&user, 10).await;
        page.open(&conversation).await;
        wait_until_end_is_visible(&page).await;

        page.js(&format!(
            "document.querySelector('.scroller').scrollTop -= 1; \
             const box = document.querySelector('#message'); \
             box.value = {}; \
             box.dispatchEvent(new Event('input')); \
             box.form.requestSubmit()",
            json!("a long message ".repeat(90))
        ))
        .await;
        page.wait_for_answer("A short answer.").await;

        wait_until_end_is_visible(&page).await;
    })
    .await;
}
