//! Runs a browser test: starts Errand and Chromium, and stops both however the test ends. A test fails if a page logs an
//! error that the test did not allow.

use std::{
    net::TcpListener,
    panic::{AssertUnwindSafe, resume_unwind},
};

use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::{Builder, TestApp, User, eventually};
use futures::FutureExt;
use thirtyfour::WebDriver;

use crate::{chromium::Chromium, page::Page};

/// Errand, and the browsers that the test has opened.
#[derive(Debug)]
pub(crate) struct BrowserTest {
    pub(crate) app: TestApp,
    chromium: Chromium,
    browsers: Vec<WebDriver>,
    /// Console errors that contain one of these are expected.
    allowed_errors: Vec<&'static str>,
}

impl BrowserTest {
    /// Runs a test against an Errand of its own.
    pub(crate) async fn run(builder: Builder, test: impl AsyncFnOnce(&mut Self)) {
        let mut context = Self {
            app: builder.start().await,
            chromium: Chromium::start().await,
            browsers: Vec::new(),
            // The first visit tries to resume a session that does not exist.
            allowed_errors: vec!["/auth/refresh"],
        };
        let result = AssertUnwindSafe(test(&mut context)).catch_unwind().await;
        let mut errors = context.console_errors().await;
        if result.is_err() {
            context.save_screenshots().await;
            eprintln!("console errors: {errors:#?}");
        }
        context.chromium.quit().await;
        if let Err(panic) = result {
            resume_unwind(panic);
        }
        errors.retain(|error| {
            !context
                .allowed_errors
                .iter()
                .any(|allowed| error.contains(allowed))
        });
        assert!(errors.is_empty(), "the page logged errors: {errors:#?}");
        context.app.drained().await;
    }

    /// Opens a browser with a profile of its own, as on another device.
    pub(crate) async fn new_device(&mut self) -> Page {
        let browser = self.chromium.new_browser().await;
        self.browsers.push(browser.clone());
        Page::new(browser, self.app.url()).await
    }

    /// Registers a user and signs in on a new device.
    pub(crate) async fn signed_in_user(&mut self) -> (User, Page) {
        let user = self.app.user("Ada").await;
        let page = self.new_device().await;
        page.sign_in(&user).await;
        (user, page)
    }

    /// Registers an admin, signs in on a new device and opens a section of the admin page.
    pub(crate) async fn signed_in_admin(&mut self, section: &str) -> (User, Page) {
        let admin = self.app.admin().await;
        let page = self.new_device().await;
        page.open(&format!("admin#/{section}")).await;
        page.submit_sign_in(&admin).await;
        page.wait_for("the admin page", "document.querySelector('.admin-main h1')")
            .await;
        (admin, page)
    }

    /// Waits until this many SQL statements are blocked by a lock of the test.
    pub(crate) async fn wait_for_blocked_statements(&self, statements: i64) {
        let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("statements that wait for the lock", || async {
            self.app.database.count(blocked).await >= statements
        })
        .await;
    }

    /// Allows console errors that contain this text.
    pub(crate) fn allow_console_errors(&mut self, text: &'static str) {
        self.allowed_errors.push(text);
    }

    async fn console_errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        for browser in &self.browsers {
            let entries = browser.browser_log().await.unwrap();
            errors.extend(
                entries
                    .into_iter()
                    .map(|entry| format!("{}: {}", entry.level, entry.message)),
            );
        }
        errors
    }

    async fn save_screenshots(&self) {
        for (index, browser) in self.browsers.iter().enumerate() {
            let path = format!(
                "{}/failed-{}-{index}.png",
                env!("CARGO_TARGET_TMPDIR"),
                std::process::id()
            );
            browser.screenshot(path.as_ref()).await.unwrap();
            eprintln!("screenshot of the failure: {path}");
        }
    }
}

/// An API that a test can stop and start again at the same address.
pub(crate) fn restartable_api() -> Builder {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    TestApp::builder().api(format!("--listen-addr={}", listener.local_addr().unwrap()))
}

/// The answer of [`gated_script`].
pub(crate) const GATED_ANSWER: &str = "It was worth it.";

/// A model that answers messages that contain `wait` only once the gate is released.
pub(crate) fn gated_script(gate: &Gate) -> Script {
    Script::new().when("wait", [Behaviour::reply(GATED_ANSWER).behind(gate)])
}
