//! Sessions: access tokens are renewed unnoticed, and signing out ends the session everywhere.

use errand_testkit::TestApp;

use crate::browser_test::{BrowserTest, restartable_api};

const REVOKED_REFRESH_TOKENS: &str = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NOT NULL";

#[tokio::test]
async fn rejected_access_token_is_replaced() {
    BrowserTest::run(restartable_api(), async |test| {
        test.allow_console_errors("401");
        test.allow_console_errors("net::ERR_");
        test.allow_console_errors("WebSocket connection to");
        let (_, page) = test.signed_in_user().await;
        page.send_message("Add a task to buy milk").await;
        page.wait_for_answered_messages(1).await;

        // With another secret, old access tokens are invalid. Refresh tokens are in the database and remain valid.
        test.app.stop_api(0).await;
        test.app
            .add_api_with(&["--jwt-secret=another secret for tests, 32 bytes or more"])
            .await;

        page.send_message("Add a task to buy bread").await;
        page.wait_for_answered_messages(2).await;
        page.wait_for_count(".task", 2).await;
    })
    .await;
}

#[tokio::test]
async fn concurrent_refreshes_in_several_tabs_keep_the_session() {
    /// Asks for a new token five times at once.
    const REFRESH: &str = "import('/page/net/session.js').then(async ({ session }) => { \
                               const current = await session.token(); \
                               await Promise.all(Array.from({ length: 5 }, () => session.token(current))); \
                               window.isRefreshed = true; })";
    BrowserTest::run(TestApp::builder(), async |test| {
        let (_, first) = test.signed_in_user().await;
        let tabs = [first.new_tab().await, first.new_tab().await, first.clone()];
        for tab in &tabs {
            tab.open("").await;
            tab.wait_until_signed_in().await;
        }

        for tab in &tabs {
            tab.js(REFRESH).await;
        }
        for tab in &tabs {
            tab.wait_for("a new token", "window.isRefreshed").await;
        }

        first.reload().await;
        first.wait_until_signed_in().await;
        assert_eq!(test.app.database.count(REVOKED_REFRESH_TOKENS).await, 0);
    })
    .await;
}

#[tokio::test]
async fn short_lived_access_tokens_are_renewed() {
    BrowserTest::run(TestApp::builder().api("--jwt-ttl-seconds=1"), async |test| {
        let (_, page) = test.signed_in_user().await;

        for count in 1..=3 {
            page.reload().await;
            page.wait_until_signed_in().await;
            page.send_message("Add a task to buy milk").await;
            page.wait_for_answered_messages(count).await;
        }
    })
    .await;
}

#[tokio::test]
async fn page_unloaded_during_a_refresh_keeps_the_session() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (_, page) = test.signed_in_user().await;

        // Given a refresh that the server has received but cannot answer yet.
        let mut lock = test.app.database.pool.begin().await.unwrap();
        sqlx::raw_sql("LOCK TABLE refresh_tokens IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *lock)
            .await
            .unwrap();
        page.reload().await;
        test.wait_for_blocked_statements(1).await;

        // When the page is loaded again before the answer arrives.
        page.reload().await;
        page.wait_for("the loading page", "document.querySelector('.boot')")
            .await;
        lock.rollback().await.unwrap();

        page.wait_until_signed_in().await;
        assert_eq!(test.app.database.count(REVOKED_REFRESH_TOKENS).await, 0);
    })
    .await;
}

#[tokio::test]
async fn signing_out_ends_the_session_in_all_tabs_and_deletes_drafts() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let (_, page) = test.signed_in_user().await;
        let other_tab = page.new_tab().await;
        other_tab.open("").await;
        other_tab.wait_until_signed_in().await;
        page.type_into("#message", "a draft").await;

        page.click("#sign-out").await;

        for tab in [&page, &other_tab] {
            tab.wait_for_sign_in_form().await;
            tab.reload().await;
            tab.wait_for_sign_in_form().await;
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

#[tokio::test]
async fn next_user_does_not_see_the_address_of_the_last_conversation() {
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given a conversation that is open in two tabs.
        let (_, page) = test.signed_in_user().await;
        page.send_message("Add a task to buy milk").await;
        page.wait_for_answered_messages(1).await;
        let other_tab = page.new_tab().await;
        other_tab.open(&page.fragment().await).await;
        other_tab.wait_for_answered_messages(1).await;

        page.click("#sign-out").await;
        for tab in [&page, &other_tab] {
            tab.wait_for_sign_in_form().await;
            assert_eq!(tab.fragment().await, "");
        }

        // When another user signs in, they see a new chat.
        let other_user = test.app.user("Eve").await;
        page.submit_sign_in(&other_user).await;
        page.wait_until_signed_in().await;
        page.wait_for("a new chat", "document.querySelector('.suggestions')")
            .await;
    })
    .await;
}
