//! Staying in, and going out.

use std::net::TcpListener;

use errand_testkit::TestApp;

use crate::stage::Stage;

#[tokio::test]
async fn a_refused_token_is_replaced_without_a_word() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let builder = TestApp::builder().api(format!("--listen-addr=127.0.0.1:{port}"));
    Stage::play(builder, async |stage| {
        stage.expect("401");
        stage.expect("net::ERR_");
        stage.expect("WebSocket connection to");
        let (_, page) = stage.user().await;
        page.say("Add a task to buy milk").await;
        page.until_turns(1).await;
        stage.app.stop_api(0).await;
        // Tokens of the old secret count no more; the login itself is in the database.
        stage
            .app
            .add_api_with(&["--jwt-secret=another secret for tests, 32 bytes or more"])
            .await;
        page.say("Add a task to buy bread").await;
        page.until_turns(2).await;
        page.until("both tasks", "document.querySelectorAll('.task').length === 2")
            .await;
    })
    .await;
}

#[tokio::test]
async fn tokens_that_end_soon_are_renewed_by_one_tab_for_all() {
    let builder = TestApp::builder().api("--jwt-ttl-seconds=1");
    Stage::play(builder, async |stage| {
        let (_, first) = stage.user().await;
        let tabs = [
            first.another_tab().await,
            first.another_tab().await,
            first.clone(),
        ];
        for tab in &tabs {
            tab.open("").await;
        }
        for tab in &tabs {
            tab.until_in().await;
        }
        for (said, tab) in (1..).zip(&tabs) {
            tab.reload().await;
            tab.until_in().await;
            tab.say("Add a task to buy milk").await;
            tab.until_turns(1).await;
            tab.until(
                "the tasks",
                &format!("document.querySelectorAll('.task').length === {said}"),
            )
            .await;
        }
        let revoked = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NOT NULL";
        assert_eq!(stage.app.database.count(revoked).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_hasty_reload_does_not_end_the_login() {
    Stage::play(TestApp::builder(), async |stage| {
        let (_, page) = stage.user().await;
        for _ in 0..6 {
            // Left as soon as it has asked for its token.
            page.js("location.reload()").await;
        }
        page.until_in().await;
        page.until("the page of the user", "document.querySelector('.who')")
            .await;
    })
    .await;
}

#[tokio::test]
async fn logging_out_ends_it_in_every_tab_and_keeps_nothing() {
    Stage::play(TestApp::builder(), async |stage| {
        let (_, page) = stage.user().await;
        let other = page.another_tab().await;
        other.open("").await;
        other.until_in().await;
        page.fill("#message", "a draft").await;
        page.click("#log-out").await;
        for tab in [&page, &other] {
            tab.until("the door", "document.querySelector('[name=password]')")
                .await;
            tab.reload().await;
            tab.until("the door", "document.querySelector('[name=password]')")
                .await;
        }
        assert_eq!(
            page.js("return JSON.stringify(localStorage).includes('draft')")
                .await,
            false
        );
        assert_eq!(page.js("return document.cookie").await, "");
    })
    .await;
}
