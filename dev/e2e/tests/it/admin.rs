//! The admin page: who may use it, what it shows and what an admin can do.

use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::{TestApp, eventually};
use thirtyfour::Key;

use crate::{
    browser_test::{BrowserTest, restartable_api},
    page::Page,
};

/// How often the queue is paused: 0 or 1.
const PAUSED: &str = "SELECT count(*) FROM queue_control WHERE paused_at IS NOT NULL";

/// Waits until the table row of a run contains a text.
async fn wait_for_run_row(page: &Page, run: impl std::fmt::Display, text: &str) {
    page.wait_for(
        &format!("the row of the run with {text}"),
        &format!("document.querySelector('[data-run=\"{run}\"]')?.innerText.includes('{text}')"),
    )
    .await;
}

/// Waits until the first element of a selector contains a text.
async fn wait_for_text(page: &Page, selector: &str, text: &str) {
    page.wait_for(
        &format!("{selector} with {text}"),
        &format!("document.querySelector('{selector}')?.innerText.includes('{text}')"),
    )
    .await;
}

async fn wait_for_worker(page: &Page, state: &str) {
    page.wait_for(
        &format!("a worker that is {state}"),
        &format!("document.querySelector('tr[data-state={state}] .state')?.innerText === '{state}'"),
    )
    .await;
}

/// Waits until the workers have written two more heartbeats. The second one was started after this call.
async fn wait_for_two_heartbeats(app: &TestApp) {
    let latest = "SELECT (extract(epoch FROM max(heartbeat_at)) * 1000000)::bigint FROM workers";
    for _ in 0..2 {
        let previous = app.database.count(latest).await;
        eventually("a heartbeat", || async {
            app.database.count(latest).await > previous
        })
        .await;
    }
}

#[tokio::test]
async fn user_who_is_not_an_admin_is_refused() {
    BrowserTest::run(TestApp::builder(), async |test| {
        test.allow_console_errors("403");
        let user = test.app.user("Ada").await;
        let page = test.new_device().await;

        page.open("admin").await;
        page.wait_for_sign_in_form().await;
        assert_eq!(page.texts("h1").await, ["Errand admin"]);
        assert!(
            page.texts(".link").await.is_empty(),
            "admins cannot register here"
        );
        page.submit_sign_in(&user).await;

        wait_for_text(&page, "h1", "Not an admin").await;
        wait_for_text(&page, "[role=alert]", &user.email).await;
        page.reload().await;
        wait_for_text(&page, "h1", "Not an admin").await;
        page.click("#sign-out").await;
        page.wait_for_sign_in_form().await;
    })
    .await;
}

#[tokio::test]
async fn queue_is_paused_and_resumed_from_the_overview() {
    BrowserTest::run(TestApp::builder().worker("--heartbeat-ms=100"), async |test| {
        let (_, page) = test.signed_in_admin("").await;
        wait_for_text(&page, ".spread", "The queue is open").await;

        // Escape cancels the dialog.
        page.click("#queue-switch").await;
        page.wait_for_dialog().await;
        page.press(Key::Escape).await;
        assert_eq!(test.app.database.count(PAUSED).await, 0);

        page.click("#queue-switch").await;
        page.confirm_dialog().await;
        wait_for_text(&page, ".spread", "The queue has been paused").await;
        assert_eq!(test.app.database.count(PAUSED).await, 1);

        // A new run stays queued once the worker knows of the pause.
        wait_for_two_heartbeats(&test.app).await;
        let user = test.app.user("Ada").await;
        user.chat_async(None, "Hello").await;
        page.wait_for(
            "one queued run",
            "[...document.querySelectorAll('.figure')].some((figure) => figure.innerText.replace(/\\s+/g, ' ') === 'Queued 1')",
        )
        .await;
        page.screenshot("admin-overview").await;

        page.click("#queue-switch").await;
        page.confirm_dialog().await;
        test.app.drained().await;
        page.wait_for(
            "one succeeded run",
            "[...document.querySelectorAll('.legend-table tr')].some((row) => /Succeeded\\s+1/.test(row.innerText))",
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn worker_is_drained_and_works_again() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let draining = "SELECT count(*) FROM workers WHERE draining";
        let (_, page) = test.signed_in_admin("workers").await;
        wait_for_worker(&page, "working").await;

        page.click("tr[data-worker] button").await;
        page.confirm_dialog().await;
        wait_for_worker(&page, "draining").await;
        assert_eq!(test.app.database.count(draining).await, 1);

        page.click("tr[data-worker] button").await;
        wait_for_worker(&page, "working").await;
        assert_eq!(test.app.database.count(draining).await, 0);
    })
    .await;
}

#[tokio::test]
async fn runs_are_filtered_and_paged() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (ada, eve) = (test.app.user("Ada").await, test.app.user("Eve").await);
        let mut runs = Vec::new();
        for _ in 0..27 {
            runs.push(ada.chat("Hello").await.id("run_id"));
        }
        let newest = eve.chat("Hello").await.id("run_id");
        let (_, page) = test.signed_in_admin("runs").await;

        // 28 runs are two pages, newest first.
        wait_for_run_row(&page, newest, "Succeeded").await;
        assert_eq!(page.texts("tbody tr").await.len(), 25);
        page.click("#older").await;
        wait_for_run_row(&page, runs[0], "Succeeded").await;
        assert_eq!(page.texts("tbody tr").await.len(), 3);
        assert_eq!(
            page.js("return document.querySelector('#older').disabled").await,
            true
        );
        page.click("#newer").await;
        wait_for_run_row(&page, newest, "Succeeded").await;

        // Filter by user.
        page.type_into("[name=user_id]", &eve.id.to_string()).await;
        page.press(Key::Enter).await;
        page.wait_for_count("tbody tr", 1).await;
        wait_for_run_row(&page, newest, "Succeeded").await;

        // Filter by state.
        page.open("admin#/runs?status=queued").await;
        page.wait_for(
            "no runs",
            "[...document.querySelectorAll('.muted')].some((text) => text.innerText === 'No matching runs.')",
        )
        .await;

        // A user id that is not valid.
        test.allow_console_errors("422");
        page.open("admin#/runs?user_id=nobody").await;
        wait_for_text(&page, ".callout.bad", "UUID").await;
    })
    .await;
}

#[tokio::test]
async fn stuck_run_shows_its_timeline_and_is_cancelled() {
    let gate = Gate::new();
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given a run whose second model call does not return.
        test.app.model.script(Script::new().when(
            "milk",
            [
                Behaviour::tool_call("add_task", r#"{"title":"milk"}"#),
                Behaviour::reply("This reply comes too late.").behind(&gate),
            ],
        ));
        let user = test.app.user("Ada").await;
        let run = user.chat_async(None, "milk").await.id("run_id");
        gate.wait_arrived(1).await;

        // Its page shows what it has done and what it waits for.
        let (_, page) = test.signed_in_admin("runs?status=running").await;
        wait_for_run_row(&page, run, "so far").await;
        page.click(&format!("[data-run=\"{run}\"] [data-act=open]")).await;
        wait_for_text(&page, ".timeline tbody tr:last-child", "Step 2: in progress").await;
        assert_eq!(
            page.texts(".timeline tbody th").await,
            [
                "Waited for a worker",
                "Step 1: model",
                "Step 1: tools",
                "Step 2: in progress"
            ]
        );
        let bars = "return [...document.querySelectorAll('.timeline svg')].map((bar) => [bar.getAttribute('role'), \
                    bar.querySelector('title').textContent, bar.querySelectorAll('rect').length])";
        assert_eq!(
            page.js(bars).await[2],
            serde_json::json!(["img", "Step 1: tools", 2])
        );
        page.screenshot("admin-run").await;

        // When it is cancelled, nothing is in progress any more.
        page.click("[data-act=cancel]").await;
        page.confirm_dialog().await;
        wait_for_text(&page, ".card .state", "Cancelled").await;
        page.wait_for(
            "no step in progress",
            "!document.querySelector('.timeline').innerText.includes('in progress')",
        )
        .await;
        assert_eq!(user.wait(run).await.text("status"), "cancelled");
        gate.release();
    })
    .await;
}

#[tokio::test]
async fn only_the_last_failed_run_of_a_conversation_is_retried() {
    BrowserTest::run(TestApp::builder(), async |test| {
        test.allow_console_errors("409");
        // Given a conversation with two failed runs.
        let bad_request = || Behaviour::status(400);
        let script = Script::new().when("bad", [bad_request(), bad_request(), Behaviour::reply("Better.")]);
        test.app
            .model
            .script(script.otherwise(Behaviour::reply("Hello.")));
        let user = test.app.user("Ada").await;
        let first = user.chat("bad one").await.id("run_id");
        let conversation = user.get(&format!("/runs/{first}")).await.id("conversation_id");
        let last = user.chat_in(conversation, "bad two").await.id("run_id");

        let (_, page) = test.signed_in_admin("dead").await;
        for run in [first, last] {
            wait_for_run_row(&page, run, "status 400").await;
        }
        page.screenshot("admin-dead").await;

        page.click(&format!("[data-run=\"{first}\"] [data-act=retry]"))
            .await;
        page.wait_for("the refusal", "document.querySelector('.toast.bad')")
            .await;

        page.click(&format!("[data-run=\"{last}\"] [data-act=retry]"))
            .await;
        page.wait_for_count(&format!("[data-run=\"{last}\"]"), 0).await;
        assert_eq!(user.wait(last).await.text("message"), "Better.");
        assert_eq!(page.texts("tbody tr").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn stored_text_is_not_rendered_as_html() {
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given markup in every text that an operator sees.
        let user = test.app.user("Ada").await;
        let run = user.chat("Hello").await.id("run_id");
        let attack = "<img src=x onerror=\"window.attacked = true\">";
        for update in [
            format!(
                "UPDATE runs SET status = 'failed', failure_reason = '{attack}', last_error = '{attack}', model = '{attack}' \
                 WHERE id = '{run}'"
            ),
            format!("UPDATE workers SET host = '{attack}', version = '{attack}'"),
        ] {
            test.app.database.execute(&update).await.unwrap();
        }

        let (_, page) = test.signed_in_admin("dead").await;
        wait_for_run_row(&page, run, "<img").await;
        page.open(&format!("admin#/run/{run}")).await;
        wait_for_text(&page, ".facts", "<img").await;
        page.open("admin#/workers").await;
        wait_for_text(&page, "tr[data-worker]", "<img").await;
        page.click("tr[data-worker] button").await;
        wait_for_text(&page, "dialog", "<img").await;

        assert_eq!(page.js("return document.querySelectorAll('main img, dialog img').length").await, 0);
        assert_eq!(page.js("return typeof window.attacked").await, "undefined");
    })
    .await;
}

#[tokio::test]
async fn page_warns_that_its_data_is_old_while_the_api_is_down() {
    BrowserTest::run(restartable_api(), async |test| {
        test.allow_console_errors("net::ERR_");
        let (_, page) = test.signed_in_admin("workers").await;
        wait_for_worker(&page, "working").await;

        test.app.stop_api(0).await;
        wait_for_text(&page, ".callout.bad:not([hidden])", "out of date").await;
        assert_eq!(
            page.texts("tr[data-worker]").await.len(),
            1,
            "the data stays visible"
        );

        test.app.add_api().await;
        page.wait_for("no warning", "document.querySelector('.callout.bad').hidden")
            .await;
    })
    .await;
}
