//! The page on a phone, in the dark, and in light that somebody has chosen.

use errand_testkit::TestApp;
use serde_json::json;

use crate::stage::Stage;

/// How much wider the content is than the window.
const OVERFLOW: &str = "return document.documentElement.scrollWidth - document.documentElement.clientWidth \
                        + document.body.scrollWidth - document.body.clientWidth";

#[tokio::test]
async fn nothing_is_wider_than_a_phone_and_the_lists_are_drawers() {
    Stage::play(TestApp::builder(), async |stage| {
        let (user, page) = stage.user().await;
        let long = "unbreakable".repeat(20);
        for title in ["buy milk", long.as_str()] {
            user.post("/tasks", json!({"title": title})).await;
        }
        page.device(360, 740, true).await;
        page.open("").await;
        page.until_in().await;
        page.picture("phone-empty").await;
        page.say(&format!("What is on my list? {long}")).await;
        page.until_turns(1).await;
        assert_eq!(page.js(OVERFLOW).await, 0);
        page.picture("phone").await;
        for (opener, panel) in [(".open-left", ".panel.left"), (".open-right", ".panel.right")] {
            page.click(opener).await;
            let still = format!(
                "document.querySelector('{panel}').checkVisibility({{visibilityProperty: true}}) \
                 && document.querySelector('{panel}').getAnimations().length === 0"
            );
            page.until("the drawer", &still).await;
            page.picture(&format!("phone{}", panel.replace('.', "-"))).await;
            assert_eq!(page.js(OVERFLOW).await, 0);
            assert_eq!(
                page.js(&format!(
                    "return document.querySelector('{panel}').contains(document.activeElement)"
                ))
                .await,
                true
            );
            page.press(thirtyfour::Key::Escape).await;
            page.until("no drawer", &format!("document.querySelector('{panel}').inert"))
                .await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_is_dark_where_the_system_is_until_somebody_chooses() {
    Stage::play(TestApp::builder(), async |stage| {
        let (user, page) = stage.user().await;
        user.chat("Add tasks to buy milk, walk the dog and pay the bills")
            .await;
        user.chat("Mark task 1 as done").await;
        page.open("").await;
        page.until("the tasks", "document.querySelectorAll('.task').length === 3")
            .await;
        let light = page.js(LIGHTNESS).await.as_f64().unwrap();
        page.system_theme("dark").await;
        let dark = page.js(LIGHTNESS).await.as_f64().unwrap();
        assert!(light > 200.0 && dark < 60.0, "{light} {dark}");
        page.say("Show me all my tasks").await;
        page.until_turns(1).await;
        page.picture("dark").await;
        page.click("#theme").await;
        assert!(page.js(LIGHTNESS).await.as_f64().unwrap() > 200.0);
        page.picture("light").await;
        page.reload().await;
        page.until_turns(1).await;
        assert!(page.js(LIGHTNESS).await.as_f64().unwrap() > 200.0);
    })
    .await;
}

/// How light the ground is, 0 to 255.
const LIGHTNESS: &str = "const parts = getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number); \
                         return (parts[0] + parts[1] + parts[2]) / 3";

#[tokio::test]
async fn markdown_is_shown_as_what_it_means() {
    Stage::play(TestApp::builder(), async |stage| {
        let said = "## Today\n\n1. **Buy** milk\n2. *Walk* the dog\n   - before `noon`\n\n```\nlet x = 1;\n```\n\n\
                    See [the list](https://example.com/list) or https://example.com.\n\n> quoted";
        stage.app.model.script(
            errand_model::Script::new().when("format", [errand_model::Behaviour::reply(said)]),
        );
        let (_, page) = stage.user().await;
        page.say("format").await;
        page.until_answered("Today").await;
        page.picture("markdown").await;
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
        let safe = "return [...document.querySelectorAll('.answer a')].every((a) => a.rel.includes('noopener') && a.href.startsWith('https:'))";
        assert_eq!(page.js(safe).await, true);
    })
    .await;
}
