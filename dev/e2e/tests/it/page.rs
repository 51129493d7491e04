//! A tab with the page in it, as its reader uses it: waits are for what can be seen.

use errand_testkit::{User, eventually};
use serde_json::{Value, json};
use thirtyfour::{By, Key, TypingData, WebDriver, WindowHandle, error::WebDriverErrorInner};

/// How often something is found again that the page has replaced before it could be clicked.
const FRESH_LOOKS: usize = 10;

/// A tab.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    driver: WebDriver,
    tab: WindowHandle,
    url: String,
}

impl Page {
    /// The tab that a browser begins with.
    pub(crate) async fn first(driver: WebDriver, url: String) -> Self {
        let tab = driver.window().await.unwrap();
        Self { driver, tab, url }
    }

    /// Another tab of the same browser.
    pub(crate) async fn another_tab(&self) -> Self {
        let tab = self.driver.new_tab().await.unwrap();
        Self { tab, ..self.clone() }
    }

    /// Loads the page at a place behind the `#`.
    pub(crate) async fn open(&self, place: &str) {
        self.front().await;
        // Only another document is loaded anew for another place.
        self.driver.goto("about:blank").await.unwrap();
        self.driver.goto(format!("{}/{place}", self.url)).await.unwrap();
    }

    /// Loads it again.
    pub(crate) async fn reload(&self) {
        self.front().await;
        self.driver.refresh().await.unwrap();
    }

    /// Logs a user in who was registered otherwise.
    pub(crate) async fn log_in(&self, user: &User) {
        self.open("").await;
        self.pass_the_door(user).await;
        self.until_in().await;
    }

    /// Fills in the form of the door that is to come.
    pub(crate) async fn pass_the_door(&self, user: &User) {
        self.until("the door", "document.querySelector('[name=password]')")
            .await;
        self.fill("[name=email]", &user.email).await;
        self.fill("[name=password]", User::PASSWORD).await;
        self.press(Key::Enter).await;
    }

    /// Waits for the page of somebody who is in.
    pub(crate) async fn until_in(&self) {
        self.until("the page inside", "document.querySelector('#message')")
            .await;
    }

    /// Waits until an expression of JavaScript is true.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        eventually(&format!("{what}: {expression}"), || async {
            self.js(&format!("return Boolean({expression})")).await == json!(true)
        })
        .await;
    }

    /// Waits until the last answer is this text.
    pub(crate) async fn until_answered(&self, text: &str) {
        self.until(
            "the answer",
            &format!(
                "[...document.querySelectorAll('.turn')].at(-1)?.matches('[data-state=succeeded]') \
                 && [...document.querySelectorAll('.answer')].at(-1).innerText.includes({})",
                json!(text)
            ),
        )
        .await;
    }

    /// Waits until there are so many turns and none is open or on its way.
    pub(crate) async fn until_turns(&self, count: usize) {
        self.until(
            "the turns",
            &format!(
                "document.querySelectorAll('.turn').length === {count} \
                 && document.querySelectorAll('.turn[data-state=succeeded]').length === {count} \
                 && document.querySelectorAll('.turn .bubble').length === {count}"
            ),
        )
        .await;
    }

    /// Says something to the agent.
    pub(crate) async fn say(&self, text: &str) {
        self.fill("#message", text).await;
        self.press(Key::Enter).await;
    }

    /// The texts of all elements of a selector, as they are read.
    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let found = self
            .js(&format!(
                "return [...document.querySelectorAll({})].map((one) => one.innerText)",
                json!(selector)
            ))
            .await;
        serde_json::from_value(found).unwrap()
    }

    /// Clicks what is there.
    pub(crate) async fn click(&self, selector: &str) {
        self.front().await;
        self.until(
            "something to click",
            &format!("document.querySelector({})", json!(selector)),
        )
        .await;
        for _ in 0..FRESH_LOOKS {
            let element = self.driver.find(By::Css(selector)).await.unwrap();
            match element.click().await {
                // The page has put another in its place meanwhile.
                Err(error) if matches!(*error, WebDriverErrorInner::StaleElementReference(_)) => {}
                clicked => return clicked.unwrap(),
            }
        }
        panic!("{selector} is replaced again and again");
    }

    /// Types into a field that is there, in place of what is in it.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        self.front().await;
        let field = self.driver.find(By::Css(selector)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: impl Into<TypingData>) {
        self.front().await;
        self.driver
            .active_element()
            .await
            .unwrap()
            .send_keys(keys)
            .await
            .unwrap();
    }

    /// Runs a script and gives what it returns.
    pub(crate) async fn js(&self, script: &str) -> Value {
        self.front().await;
        let returned = self.driver.execute(script, Vec::new()).await.unwrap();
        returned.json().clone()
    }

    /// A command of the browser's own protocol.
    pub(crate) async fn cdp(&self, command: &str, parameters: Value) {
        self.front().await;
        self.driver.cdp().send_raw(command, parameters).await.unwrap();
    }

    /// As wide and high as a device.
    pub(crate) async fn device(&self, width: u32, height: u32, mobile: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Whether the system is dark.
    pub(crate) async fn system_theme(&self, theme: &str) {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.cdp("Emulation.setEmulatedMedia", media).await;
    }

    /// A picture, in the folder that the environment names; for people who work on the looks.
    pub(crate) async fn picture(&self, name: &str) {
        self.front().await;
        if let Some(folder) = errand_testkit::variable("ERRAND_TEST_PICTURES") {
            let path = std::path::PathBuf::from(folder).join(format!("{name}.png"));
            self.driver.screenshot(&path).await.unwrap();
        }
    }

    async fn front(&self) {
        self.driver.switch_to_window(self.tab.clone()).await.unwrap();
    }
}
