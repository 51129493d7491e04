//! The page for admins: who gets in, what is seen, what can be done.

use std::net::TcpListener;

use errand_model::{Behaviour, Gate, Script};
use errand_testkit::{TestApp, eventually};

use crate::{page::Page, stage::Stage};

/// Waits until a row of a run says something.
async fn until_row(page: &Page, run: impl std::fmt::Display, says: &str) {
    page.until(
        &format!("the run: {says}"),
        &format!("document.querySelector('[data-run=\"{run}\"]')?.innerText.includes('{says}')"),
    )
    .await;
}

/// Says yes to the question that is open.
async fn agree(page: &Page) {
    page.click("dialog[open] [type=submit]").await;
    page.until("no question", "!document.querySelector('dialog')")
        .await;
}

#[tokio::test]
async fn somebody_who_is_no_admin_is_told_so_and_sees_nothing() {
    Stage::play(TestApp::builder(), async |stage| {
        stage.expect("403");
        let user = stage.app.user("Ada").await;
        let page = stage.device().await;
        page.open("admin").await;
        page.until("the door", "document.querySelector('[name=password]')")
            .await;
        assert_eq!(
            page.texts("h1").await,
            ["Errand for admins"],
            "nobody registers here"
        );
        assert!(page.texts(".link").await.is_empty());
        page.pass_the_door(&user).await;
        page.until(
            "the refusal",
            "document.querySelector('h1')?.innerText === 'Not an admin'",
        )
        .await;
        let told = page.texts("[role=alert]").await.remove(0);
        assert!(told.contains(&user.email), "{told}");
        page.reload().await;
        page.until(
            "the refusal again",
            "document.querySelector('h1')?.innerText === 'Not an admin'",
        )
        .await;
        page.click("#log-out").await;
        page.until("the door", "document.querySelector('[name=password]')")
            .await;
    })
    .await;
}

#[tokio::test]
async fn the_overview_follows_the_queue_which_can_be_paused_and_resumed() {
    Stage::play(TestApp::builder().worker("--heartbeat-ms=100"), async |stage| {
        let (_, page) = stage.admin("").await;
        page.until(
            "the queue",
            "document.querySelector('.spread')?.innerText.includes('The queue is open')",
        )
        .await;
        page.click("#queue-switch").await;
        page.until("the question", "document.querySelector('dialog[open]')")
            .await;
        page.press(thirtyfour::Key::Escape).await;
        let paused = "SELECT count(*) FROM queue_control WHERE paused_at IS NOT NULL";
        assert_eq!(
            stage.app.database.count(paused).await,
            0,
            "a question that is left is a no"
        );
        page.click("#queue-switch").await;
        agree(&page).await;
        page.until(
            "the pause",
            "document.querySelector('.spread').innerText.includes('The queue is paused')",
        )
        .await;
        assert_eq!(stage.app.database.count(paused).await, 1);
        // The worker has heard of it with its second heartbeat from now.
        let beats = "SELECT extract(epoch FROM max(heartbeat_at)) * 1000000 FROM workers";
        let first = stage
            .app
            .database
            .count(&format!("SELECT ({beats})::bigint"))
            .await;
        eventually("two heartbeats", || async {
            stage
                .app
                .database
                .count(&format!("SELECT ({beats})::bigint"))
                .await
                > first + 150_000
        })
        .await;
        let user = stage.app.user("Ada").await;
        user.chat_async(None, "Hello").await;
        page.until(
            "the run waits",
            "[...document.querySelectorAll('.figure')].some((one) => one.innerText.replace(/\\s+/g, ' ') === 'Queued 1')",
        )
        .await;
        page.picture("admin-overview").await;
        page.click("#queue-switch").await;
        agree(&page).await;
        stage.app.drained().await;
        page.until(
            "it has ended",
            "[...document.querySelectorAll('.legend-table tr')].some((one) => /Succeeded\\s+1/.test(one.innerText))",
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_is_drained_and_takes_up_work_again() {
    Stage::play(TestApp::builder(), async |stage| {
        let (_, page) = stage.admin("workers").await;
        page.until("the worker", "document.querySelector('tr[data-state=working]')")
            .await;
        let drains = "SELECT count(*) FROM workers WHERE draining";
        page.click("tr[data-worker] button").await;
        agree(&page).await;
        page.until(
            "it drains",
            "document.querySelector('tr[data-state=draining] .state')?.innerText === 'draining'",
        )
        .await;
        assert_eq!(stage.app.database.count(drains).await, 1);
        page.click("tr[data-worker] button").await;
        page.until("it works", "document.querySelector('tr[data-state=working]')")
            .await;
        assert_eq!(stage.app.database.count(drains).await, 0);
    })
    .await;
}

#[tokio::test]
async fn runs_are_found_by_state_and_user_and_paged() {
    Stage::play(TestApp::builder(), async |stage| {
        let (ada, eve) = (stage.app.user("Ada").await, stage.app.user("Eve").await);
        let mut runs = Vec::new();
        for _ in 0..27 {
            runs.push(ada.chat("Hello").await.id("run_id"));
        }
        let hers = eve.chat("Hello").await.id("run_id");
        let (_, page) = stage.admin("runs").await;
        until_row(&page, hers, "Succeeded").await;
        assert_eq!(page.texts("tbody tr").await.len(), 25);
        page.click("#older").await;
        until_row(&page, runs[0], "Succeeded").await;
        assert_eq!(page.texts("tbody tr").await.len(), 3);
        assert_eq!(page.js("return document.querySelector('#older').disabled").await, true);
        page.click("#newer").await;
        until_row(&page, hers, "Succeeded").await;
        page.fill("[name=user_id]", &eve.id.to_string()).await;
        page.press(thirtyfour::Key::Enter).await;
        page.until("her run alone", "document.querySelectorAll('tbody tr').length === 1")
            .await;
        until_row(&page, hers, "Succeeded").await;
        page.open("admin#/runs?status=queued").await;
        page.until(
            "that there are none",
            "[...document.querySelectorAll('.soft')].some((one) => one.innerText === 'There are no such runs.')",
        )
        .await;
        stage.expect("422");
        page.open("admin#/runs?user_id=nobody").await;
        page.until(
            "that this is no id",
            "document.querySelector('.callout.bad')?.innerText.includes('must be a UUID')",
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_stuck_run_is_seen_on_its_timeline_and_cancelled() {
    let gate = Gate::new();
    Stage::play(TestApp::builder(), async |stage| {
        stage.app.model.script(Script::new().when(
            "milk",
            [
                Behaviour::tool_call("add_task", r#"{"title":"milk"}"#),
                Behaviour::reply("Never said.").behind(&gate),
            ],
        ));
        let user = stage.app.user("Ada").await;
        let run = user.chat_async(None, "milk").await.id("run_id");
        gate.wait_arrived(1).await;
        let (_, page) = stage.admin("runs?status=running").await;
        until_row(&page, run, "so far").await;
        page.click(&format!("[data-run=\"{run}\"] [data-act=open]")).await;
        page.until(
            "the step that is under way",
            "document.querySelector('.timeline tbody tr:last-child')?.innerText.includes('Step 2: under way')",
        )
        .await;
        assert_eq!(
            page.texts(".timeline tbody th").await,
            [
                "Waited for a worker",
                "Step 1: model",
                "Step 1: tools",
                "Step 2: under way"
            ]
        );
        let bars = "return [...document.querySelectorAll('.timeline svg')].map((one) => [one.getAttribute('role'), \
                    one.querySelector('title').textContent, one.querySelectorAll('rect').length])";
        assert_eq!(
            page.js(bars).await[2],
            serde_json::json!(["img", "Step 1: tools", 2])
        );
        page.picture("admin-run").await;
        page.click("[data-act=cancel]").await;
        agree(&page).await;
        page.until(
            "its end",
            "document.querySelector('.card .state')?.innerText === 'Cancelled'",
        )
        .await;
        page.until(
            "no step under way",
            "!document.querySelector('.timeline').innerText.includes('under way')",
        )
        .await;
        assert_eq!(user.wait(run).await.text("status"), "cancelled");
        gate.release();
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_says_why_and_is_tried_again_while_it_is_the_last() {
    Stage::play(TestApp::builder(), async |stage| {
        stage.expect("409");
        let refused = || Behaviour::status(400);
        let script = Script::new().when("bad", [refused(), refused(), Behaviour::reply("Better.")]);
        stage
            .app
            .model
            .script(script.otherwise(Behaviour::reply("Hello.")));
        let user = stage.app.user("Ada").await;
        let first = user.chat("bad one").await.id("run_id");
        let conversation = user.get(&format!("/runs/{first}")).await.id("conversation_id");
        let second = user.chat_in(conversation, "bad two").await.id("run_id");
        let (_, page) = stage.admin("dead").await;
        for run in [first, second] {
            until_row(&page, run, "status 400").await;
        }
        page.picture("admin-dead").await;
        page.click(&format!("[data-run=\"{first}\"] [data-act=retry]"))
            .await;
        page.until("why not", "document.querySelector('.note.bad')").await;
        page.click(&format!("[data-run=\"{second}\"] [data-act=retry]"))
            .await;
        page.until(
            "it is no dead letter any more",
            &format!("!document.querySelector('[data-run=\"{second}\"]')"),
        )
        .await;
        assert_eq!(user.wait(second).await.text("message"), "Better.");
        assert_eq!(page.texts("tbody tr").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_an_operator_is_told_stays_text() {
    Stage::play(TestApp::builder(), async |stage| {
        let user = stage.app.user("Ada").await;
        let run = user.chat("Hello").await.id("run_id");
        let attack = "<img src=x onerror=\"window.hit = 1\">";
        let spoil = format!(
            "UPDATE runs SET status = 'failed', failure_reason = '{attack}', last_error = '{attack}', model = '{attack}' \
             WHERE id = '{run}'"
        );
        stage.app.database.execute(&spoil).await.unwrap();
        let spoil = format!("UPDATE workers SET host = '{attack}', version = '{attack}'");
        stage.app.database.execute(&spoil).await.unwrap();
        let (_, page) = stage.admin("dead").await;
        until_row(&page, run, "<img").await;
        page.open(&format!("admin#/run/{run}")).await;
        page.until("the facts", "document.querySelector('.facts')?.innerText.includes('<img')")
            .await;
        page.open("admin#/workers").await;
        page.until("the worker", "document.querySelector('tr[data-worker]')?.innerText.includes('<img')")
            .await;
        page.click("tr[data-worker] button").await;
        page.until("the question", "document.querySelector('dialog')?.innerText.includes('<img')")
            .await;
        assert_eq!(page.js("return document.querySelectorAll('main img, dialog img').length").await, 0);
        assert_eq!(page.js("return typeof window.hit").await, "undefined");
    })
    .await;
}

#[tokio::test]
async fn the_page_says_that_it_is_old_while_the_server_is_away() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let builder = TestApp::builder().api(format!("--listen-addr=127.0.0.1:{port}"));
    Stage::play(builder, async |stage| {
        stage.expect("net::ERR_");
        let (_, page) = stage.admin("workers").await;
        page.until("the worker", "document.querySelector('tr[data-worker]')")
            .await;
        stage.app.stop_api(0).await;
        page.until(
            "the warning",
            "document.querySelector('.callout.bad:not([hidden])')?.innerText.includes('may be old')",
        )
        .await;
        assert_eq!(
            page.texts("tr[data-worker]").await.len(),
            1,
            "what was seen stays"
        );
        stage.app.add_api().await;
        page.until("no warning", "document.querySelector('.callout.bad').hidden")
            .await;
    })
    .await;
}
