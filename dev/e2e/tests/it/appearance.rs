//! The chat page on a phone, in light and dark mode, and its Markdown.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::TestApp;
use serde_json::json;
use thirtyfour::Key;

use crate::{browser_test::BrowserTest, page::Page};

/// How much wider the content is than the window, in pixels.
const OVERFLOW: &str = "return document.documentElement.scrollWidth - document.documentElement.clientWidth \
                        + document.body.scrollWidth - document.body.clientWidth";

/// How light the background of the page is, 0 to 255.
async fn lightness(page: &Page) -> f64 {
    let script = "const parts = getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number); \
                  return (parts[0] + parts[1] + parts[2]) / 3";
    page.js(script).await.as_f64().unwrap()
}

#[tokio::test]
async fn page_fits_a_phone_and_the_side_panels_are_drawers() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (user, page) = test.signed_in_user().await;
        let long_word = "unbreakable".repeat(20);
        for title in ["buy milk", long_word.as_str()] {
            user.post("/tasks", json!({"title": title})).await;
        }
        page.emulate_phone().await;
        page.open("").await;
        page.wait_until_signed_in().await;
        page.screenshot("phone-empty").await;

        page.send_message(&format!("What is on my list? {long_word}"))
            .await;
        page.wait_for_answered_messages(1).await;
        assert_eq!(page.js(OVERFLOW).await, 0);
        page.screenshot("phone").await;

        for (button, panel) in [(".open-left", ".panel.left"), (".open-right", ".panel.right")] {
            page.click(button).await;
            let is_open = format!(
                "document.querySelector('{panel}').checkVisibility({{visibilityProperty: true}}) \
                 && document.querySelector('{panel}').getAnimations().length === 0"
            );
            page.wait_for("the open drawer", &is_open).await;
            page.screenshot(&format!("phone{}", panel.replace('.', "-")))
                .await;
            assert_eq!(page.js(OVERFLOW).await, 0);
            let has_focus =
                format!("return document.querySelector('{panel}').contains(document.activeElement)");
            assert_eq!(page.js(&has_focus).await, true);
            page.press(Key::Escape).await;
            page.wait_for(
                "the closed drawer",
                &format!("document.querySelector('{panel}').inert"),
            )
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn theme_follows_the_system_until_the_user_chooses() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (user, page) = test.signed_in_user().await;
        user.chat("Add tasks to buy milk, walk the dog and pay the bills")
            .await;
        user.chat("Mark task 1 as done").await;
        page.open("").await;
        page.wait_for_count(".task", 3).await;

        assert!(lightness(&page).await > 200.0);
        page.set_system_theme("dark").await;
        assert!(lightness(&page).await < 60.0);
        page.send_message("Show me all my tasks").await;
        page.wait_for_answered_messages(1).await;
        page.screenshot("dark").await;

        page.click("#theme").await;
        assert!(lightness(&page).await > 200.0);
        page.screenshot("light").await;
        page.reload().await;
        page.wait_for_answered_messages(1).await;
        assert!(lightness(&page).await > 200.0, "the choice is kept");
    })
    .await;
}

#[tokio::test]
async fn markdown_is_rendered() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let reply = "## Today\n\n1. **Buy** milk\n2. *Walk* the dog\n   - before `noon`\n\n```\nlet x = 1;\n```\n\n\
                     See [the list](https://example.com/list) or https://example.com.\n\n> quoted";
        test.app
            .model
            .script(Script::new().when("format", [Behaviour::reply(reply)]));
        let (_, page) = test.signed_in_user().await;

        page.send_message("format").await;
        page.wait_for_answer("Today").await;
        page.screenshot("markdown").await;

        for (selector, texts) in [
            (".answer h4", vec!["Today"]),
            (".answer strong", vec!["Buy"]),
            (".answer em", vec!["Walk"]),
            (".answer ol > li > ul > li", vec!["before noon"]),
            (".answer pre code", vec!["let x = 1;"]),
            (".answer a", vec!["the list", "https://example.com"]),
            (".answer blockquote", vec!["quoted"]),
        ] {
            assert_eq!(page.texts(selector).await, texts, "{selector}");
        }
        let links_are_safe = "return [...document.querySelectorAll('.answer a')]\
                              .every((a) => a.rel.includes('noopener') && a.href.startsWith('https:'))";
        assert_eq!(page.js(links_are_safe).await, true);
    })
    .await;
}
