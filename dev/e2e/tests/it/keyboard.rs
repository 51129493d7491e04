//! The page without a mouse.

use errand_testkit::TestApp;
use thirtyfour::{Key, TypingData};

use crate::{page::Page, stage::Stage};

#[tokio::test]
async fn everything_can_be_done_with_the_keyboard() {
    Stage::play(TestApp::builder(), async |stage| {
        let (_, page) = stage.user().await;
        let focus = "return document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText";
        assert_eq!(page.js(focus).await, "Message");
        page.press("Add a task to buy milk").await;
        page.press(Key::Shift + Key::Enter).await;
        page.press("and bread").await;
        assert_eq!(
            page.js("return document.querySelector('#message').value").await,
            "Add a task to buy milk\nand bread"
        );
        page.press(Key::Enter).await;
        page.until_turns(1).await;
        assert_eq!(page.js(focus).await, "Message");

        // From the message box on to the tasks, which come next.
        tab_to(&page, "New task").await;
        page.press("water the plants").await;
        page.press(Key::Enter).await;
        page.until("the task", "[...document.querySelectorAll('.task-title')].some((one) => one.innerText === 'water the plants')")
            .await;
        tab_to(&page, "Done: water the plants").await;
        page.press(" ").await;
        page.until("it is done", "document.querySelector('.task.completed')").await;

        // Round the end of the page to its beginning: the way past the lists.
        page.js("document.activeElement.blur(); window.focus()").await;
        tab_to(&page, "Skip to the message box").await;
        page.press(Key::Enter).await;
        page.until("the message box", "document.activeElement.id === 'message'").await;

        tab_to_back(&page, "Delete Chat").await;
        page.press(Key::Enter).await;
        page.until("the question", "document.querySelector('dialog[open]')").await;
        page.press(Key::Escape).await;
        page.until("no question", "!document.querySelector('dialog')").await;
        assert_eq!(page.texts(".conversation").await.len(), 1);
        page.press(Key::Enter).await;
        page.until("the question", "document.querySelector('dialog[open]')").await;
        tab_to(&page, "Delete").await;
        page.press(Key::Enter).await;
        page.until("no conversation", "!document.querySelector('.conversation')").await;
        page.until("a new chat", "document.querySelector('.empty h2')").await;
    })
    .await;
}

async fn tab_to(page: &Page, label: &str) {
    walk(page, label, || Key::Tab.into()).await;
}

async fn tab_to_back(page: &Page, label: &str) {
    walk(page, label, || Key::Shift + Key::Tab).await;
}

/// Presses a key until the focus, which must be visible, is on what begins with a label.
async fn walk(page: &Page, label: &str, key: impl Fn() -> TypingData) {
    let named = "return document.activeElement === document.body ? '' : document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText";
    for _ in 0..40 {
        page.press(key()).await;
        if page
            .js(named)
            .await
            .as_str()
            .is_some_and(|name| name.starts_with(label))
        {
            let seen = "const at = document.activeElement; return at.matches(':focus-visible') && at.checkVisibility({opacityProperty: true})";
            assert_eq!(
                page.js(seen).await,
                true,
                "the focus on {label} is not to be seen"
            );
            return;
        }
    }
    panic!("no way to {label}");
}
