//! Markup in messages, titles, tasks and answers is shown as text.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::TestApp;
use serde_json::json;

use crate::browser_test::BrowserTest;

const ATTACKS: [&str; 4] = [
    "<script>window.attacked = true</script>",
    "<img src=x onerror=\"window.attacked = true\">",
    "<svg onload=\"window.attacked = true\"><a href=\"javascript:window.attacked = true\">x</a></svg>",
    "\"><iframe srcdoc=\"<script>parent.attacked = true</script>\"></iframe>",
];

/// Elements that the page itself never creates.
const FOREIGN_ELEMENTS: &str = "#app script, #app iframe, #app object, #app img, #app svg:not(.icon), \
                                #app a[href^=javascript], #app [onerror], #app [onload], #app [style*=url]";

#[tokio::test]
async fn text_is_never_rendered_as_html() {
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given markup in tasks, a message, its answer and the title of the conversation.
        let (user, page) = test.signed_in_user().await;
        let reply = format!(
            "{}\n\n[link](javascript:window.attacked=true) ![x](javascript:window.attacked=true) [data](data:text/html,x)\n\n`{}`\n\n- {}\n\n> {}",
            ATTACKS[0], ATTACKS[1], ATTACKS[2], ATTACKS[3]
        );
        test.app.model.script(Script::new().when("attack", [Behaviour::reply(&reply)]));
        for attack in ATTACKS {
            let task = user.post("/tasks", json!({"title": attack, "description": attack})).await;
            assert_eq!(task.status, 201);
        }
        let message = format!("attack {}", ATTACKS.join(" "));
        page.send_message(&message).await;
        page.wait_for_answer("link").await;
        let renamed = user
            .request(reqwest::Method::PATCH, &format!("/conversations/{}", page.conversation_id().await))
            .json(&json!({"title": ATTACKS[1]}))
            .send()
            .await
            .unwrap();
        assert_eq!(renamed.status(), 200);

        page.reload().await;
        page.wait_for_answered_messages(1).await;
        page.wait_for_count(".task", 4).await;
        page.wait_for("the title", "document.querySelector('.title').innerText.startsWith('<img')").await;

        // Then all of it is shown as text.
        assert_eq!(page.messages().await, [message]);
        assert_eq!(page.texts(".task-title").await, ATTACKS);
        assert_eq!(page.texts(".task-note").await, ATTACKS);
        assert_eq!(page.texts(".title").await, [ATTACKS[1]]);
        assert_eq!(page.texts(".conversation-title").await, [ATTACKS[1]]);
        let answer = page.answers().await.remove(0);
        for attack in ATTACKS {
            assert!(answer.contains(attack), "{answer}");
        }
        assert!(answer.contains("[link](javascript:window.attacked=true)"), "{answer}");

        // So are titles in dialogs.
        page.click("[aria-label^='Delete <script']").await;
        page.wait_for_dialog().await;
        let foreign_elements = format!("return document.querySelectorAll({}).length", json!(FOREIGN_ELEMENTS));
        assert_eq!(page.js(&foreign_elements).await, 0);
        assert_eq!(page.js("return typeof window.attacked").await, "undefined");
    })
    .await;
}

#[tokio::test]
async fn security_policy_blocks_inline_code_and_other_hosts() {
    BrowserTest::run(TestApp::builder(), async |test| {
        // The browser logs each violation, and this test causes some.
        test.allow_console_errors("Content Security Policy");
        let (_, page) = test.signed_in_user().await;

        let inline_code = "const script = document.createElement('script'); script.textContent = 'window.attacked = true'; \
                           const style = document.createElement('style'); style.textContent = 'body { color: red }'; \
                           document.body.append(script, style); return typeof window.attacked";
        assert_eq!(page.js(inline_code).await, "undefined");
        let other_host = "return fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'blocked')";
        assert_eq!(page.js(other_host).await, "blocked");

        let policy = reqwest::get(test.app.url()).await.unwrap().headers()["content-security-policy"].clone();
        for directive in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.to_str().unwrap().contains(directive), "{policy:?}");
        }
    })
    .await;
}
