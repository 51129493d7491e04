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

/// Wants a new token five times at once.
const REFRESH: &str = "window.renewed = import('/page/net/session.js').then(async ({ session }) => { \
                           const stale = await session.token(); \
                           await Promise.all(Array.from({ length: 5 }, () => session.token(stale))); \
                           window.isRenewed = true; })";

#[tokio::test]
async fn tabs_that_want_new_tokens_at_once_do_not_end_the_login() {
    Stage::play(TestApp::builder(), async |stage| {
        let (_, first) = stage.user().await;
        let tabs = [
            first.another_tab().await,
            first.another_tab().await,
            first.clone(),
        ];
        for tab in &tabs {
            tab.open("").await;
            tab.until_in().await;
        }
        for tab in &tabs {
            tab.js(REFRESH).await;
        }
        for tab in &tabs {
            tab.until("a new token", "window.isRenewed").await;
        }
        first.reload().await;
        first.until_in().await;
        let revoked = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NOT NULL";
        assert_eq!(stage.app.database.count(revoked).await, 0);
    })
    .await;
}

#[tokio::test]
async fn tokens_that_end_soon_are_renewed_without_a_word() {
    Stage::play(TestApp::builder().api("--jwt-ttl-seconds=1"), async |stage| {
        let (_, page) = stage.user().await;
        for said in 1..=3 {
            page.reload().await;
            page.until_in().await;
            page.say("Add a task to buy milk").await;
            page.until_turns(said).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_left_in_the_middle_of_its_refresh_does_not_end_the_login() {
    Stage::play(TestApp::builder(), async |stage| {
        let (_, page) = stage.user().await;
        // The server has the request, and its answer comes only after the page was left.
        let mut stall = stage.app.database.pool.begin().await.unwrap();
        sqlx::raw_sql("LOCK TABLE refresh_tokens IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *stall)
            .await
            .unwrap();
        page.reload().await;
        stage.until_stalled(1).await;
        page.reload().await;
        page.until("the page once more", "document.querySelector('.boot')")
            .await;
        stall.rollback().await.unwrap();
        page.until_in().await;
        let revoked = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NOT NULL";
        assert_eq!(stage.app.database.count(revoked).await, 0);
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
