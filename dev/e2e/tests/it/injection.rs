//! Whatever a text holds, it stays text: in messages, titles, tasks and what a model says.

use errand_model::{Behaviour, Script};
use errand_testkit::TestApp;
use serde_json::json;

use crate::stage::Stage;

const ATTACKS: [&str; 4] = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror=\"window.hit = 1\">",
    "<svg onload=\"window.hit = 1\"><a href=\"javascript:window.hit = 1\">x</a></svg>",
    "\"><iframe srcdoc=\"<script>parent.hit = 1</script>\"></iframe>",
];

/// Elements that nothing but an attack can have made.
const FOREIGN: &str = "#app script, #app iframe, #app object, #app img, #app svg:not(.icon), #app a[href^=javascript], \
                       #app [onerror], #app [onload], #app [style*=url]";

#[tokio::test]
async fn no_text_becomes_markup() {
    Stage::play(TestApp::builder(), async |stage| {
        let (user, page) = stage.user().await;
        let said = format!(
            "{}\n\n[link](javascript:window.hit=1) ![x](javascript:window.hit=1) [data](data:text/html,x)\n\n`{}`\n\n- {}\n\n> {}",
            ATTACKS[0], ATTACKS[1], ATTACKS[2], ATTACKS[3]
        );
        stage.app.model.script(Script::new().when("attack", [Behaviour::reply(&said)]));
        for attack in ATTACKS {
            let task = user.post("/tasks", json!({"title": attack, "description": attack})).await;
            assert_eq!(task.status, 201);
        }
        let asked = format!("attack {}", ATTACKS.join(" "));
        page.say(&asked).await;
        page.until_answered("link").await;
        let id = page.js("return location.hash.slice(4)").await;
        let renamed = user
            .request(reqwest::Method::PATCH, &format!("/conversations/{}", id.as_str().unwrap()))
            .json(&json!({"title": ATTACKS[1]}))
            .send()
            .await
            .unwrap();
        assert_eq!(renamed.status(), 200);
        page.reload().await;
        page.until_turns(1).await;
        page.until("the tasks", "document.querySelectorAll('.task').length === 4").await;
        page.until("the title", "document.querySelector('.title').innerText.startsWith('<img')").await;

        assert_eq!(page.texts(".bubble").await, [asked]);
        assert_eq!(page.texts(".task-title").await, ATTACKS);
        assert_eq!(page.texts(".task-note").await, ATTACKS);
        assert_eq!(page.texts(".title").await, [ATTACKS[1]]);
        assert_eq!(page.texts(".conversation-title").await, [ATTACKS[1]]);
        let answer = page.texts(".answer").await.remove(0);
        for attack in ATTACKS {
            assert!(answer.contains(attack), "{answer}");
        }
        assert!(answer.contains("[link](javascript:window.hit=1)"), "{answer}");
        // Questions repeat titles, too.
        page.click("[aria-label^='Delete <script']").await;
        page.until("the question", "document.querySelector('dialog[open]')").await;
        assert_eq!(page.js(&format!("return document.querySelectorAll({}).length", json!(FOREIGN))).await, 0);
        assert_eq!(page.js("return typeof window.hit").await, "undefined");
    })
    .await;
}

#[tokio::test]
async fn the_policy_forbids_what_markup_would_need() {
    Stage::play(TestApp::builder(), async |stage| {
        // These are the policy's own complaints, and that they come is the test.
        stage.expect("Content Security Policy");
        let (_, page) = stage.user().await;
        let tried = "const script = document.createElement('script'); script.textContent = 'window.hit = 1'; \
                     const style = document.createElement('style'); style.textContent = 'body { color: red }'; \
                     document.body.append(script, style); return typeof window.hit";
        assert_eq!(page.js(tried).await, "undefined");
        let outside = "try { await fetch('http://127.0.0.1:9/'); return 'sent' } catch { return 'refused' }";
        assert_eq!(page.js(&format!("return (async () => {{ {outside} }})()")).await, "refused");
        let policy = reqwest::get(stage.app.url()).await.unwrap().headers()["content-security-policy"].clone();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.to_str().unwrap().contains(part), "{policy:?}");
        }
    })
    .await;
}
