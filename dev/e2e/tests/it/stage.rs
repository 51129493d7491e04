//! The whole of Errand with Chromium before it. However a test ends, its browsers end; whatever it tests, no page may
//! complain.

use std::panic::{AssertUnwindSafe, resume_unwind};

use errand_testkit::{Builder, TestApp, User, eventually};
use futures::FutureExt;
use thirtyfour::WebDriver;

use crate::{chromium::Chromium, page::Page};

/// Errand and who looks at it.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Errand.
    pub(crate) app: TestApp,
    chromium: Chromium,
    drivers: Vec<WebDriver>,
    /// What pages may complain of, because the test makes it happen.
    expected: Vec<&'static str>,
}

impl Stage {
    /// Plays a story on a stage of its own.
    pub(crate) async fn play(builder: Builder, story: impl AsyncFnOnce(&mut Self)) {
        let app = builder.start().await;
        let mut stage = Self {
            app,
            chromium: Chromium::start().await,
            drivers: Vec::new(),
            // A first visit asks for a login that is not there.
            expected: vec!["/auth/refresh"],
        };
        let told = AssertUnwindSafe(story(&mut stage)).catch_unwind().await;
        let mut complaints = Vec::new();
        for driver in &stage.drivers {
            let entries = driver.browser_log().await.unwrap();
            complaints.extend(
                entries
                    .into_iter()
                    .map(|entry| format!("{}: {}", entry.level, entry.message)),
            );
        }
        if told.is_err() {
            for (number, driver) in stage.drivers.iter().enumerate() {
                let path = format!(
                    "{}/failed-{}-{number}.png",
                    env!("CARGO_TARGET_TMPDIR"),
                    std::process::id()
                );
                driver.screenshot(path.as_ref()).await.unwrap();
                eprintln!("the page as it was: {path}");
            }
            eprintln!("the pages' logs: {complaints:#?}");
        }
        stage.chromium.quit().await;
        if let Err(panic) = told {
            resume_unwind(panic);
        }
        complaints.retain(|one| !stage.expected.iter().any(|expected| one.contains(expected)));
        assert!(complaints.is_empty(), "the page complained: {complaints:#?}");
        stage.app.drained().await;
        stage.app.stop().await;
    }

    /// A browser on a device of its own.
    pub(crate) async fn device(&mut self) -> Page {
        let driver = self.chromium.browser().await;
        self.drivers.push(driver.clone());
        Page::first(driver, self.app.url()).await
    }

    /// A user, logged in on a device.
    pub(crate) async fn user(&mut self) -> (User, Page) {
        let user = self.app.user("Ada").await;
        let page = self.device().await;
        page.log_in(&user).await;
        (user, page)
    }

    /// An admin, logged in on a device, at a place of the page for admins.
    pub(crate) async fn admin(&mut self, place: &str) -> (User, Page) {
        let admin = self.app.admin().await;
        let page = self.device().await;
        page.open(&format!("admin#/{place}")).await;
        page.pass_the_door(&admin).await;
        page.until("the page for admins", "document.querySelector('.admin-main h1')")
            .await;
        (admin, page)
    }

    /// Waits until so many statements wait for a lock that the test holds.
    pub(crate) async fn until_stalled(&self, statements: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the statements wait", || async {
            self.app.database.count(waiting).await >= statements
        })
        .await;
    }

    /// Lets pages complain of this.
    pub(crate) fn expect(&mut self, complaint: &'static str) {
        self.expected.push(complaint);
    }
}
