//! A browser tab with the page. Its methods do what a user does and wait for what a user sees.

use errand_testkit::{User, eventually};
use serde_json::{Value, json};
use thirtyfour::{By, Key, TypingData, WebDriver, WindowHandle, error::WebDriverErrorInner};

/// How often an element is looked up again because the page replaced it before the click.
const CLICK_ATTEMPTS: usize = 10;
/// How many key presses may be needed to move the focus to an element.
const MAX_FOCUS_STEPS: usize = 40;

/// A tab.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    browser: WebDriver,
    tab: WindowHandle,
    url: String,
}

impl Page {
    /// The first tab of a browser.
    pub(crate) async fn new(browser: WebDriver, url: String) -> Self {
        let tab = browser.window().await.unwrap();
        Self { browser, tab, url }
    }

    /// Opens another tab in the same browser.
    pub(crate) async fn new_tab(&self) -> Self {
        let tab = self.browser.new_tab().await.unwrap();
        Self { tab, ..self.clone() }
    }

    /// Loads a path of the API's address, such as `admin#/runs`.
    pub(crate) async fn open(&self, path: &str) {
        self.bring_to_front().await;
        // Without this, a change of the fragment alone would not load the page again.
        self.browser.goto("about:blank").await.unwrap();
        self.browser.goto(format!("{}/{path}", self.url)).await.unwrap();
    }

    pub(crate) async fn reload(&self) {
        self.bring_to_front().await;
        self.browser.refresh().await.unwrap();
    }

    /// Opens the chat page and signs in.
    pub(crate) async fn sign_in(&self, user: &User) {
        self.open("").await;
        self.submit_sign_in(user).await;
        self.wait_until_signed_in().await;
    }

    /// Waits for the sign-in form and submits it.
    pub(crate) async fn submit_sign_in(&self, user: &User) {
        self.wait_for_sign_in_form().await;
        self.type_into("[name=email]", &user.email).await;
        self.type_into("[name=password]", User::PASSWORD).await;
        self.press(Key::Enter).await;
    }

    pub(crate) async fn wait_for_sign_in_form(&self) {
        self.wait_for("the sign-in form", "document.querySelector('[name=password]')")
            .await;
    }

    pub(crate) async fn wait_until_signed_in(&self) {
        self.wait_for("the message box", "document.querySelector('#message')")
            .await;
    }

    /// Waits until a JavaScript expression is true.
    pub(crate) async fn wait_for(&self, description: &str, expression: &str) {
        eventually(&format!("{description}: {expression}"), || async {
            self.js(&format!("return Boolean({expression})")).await == json!(true)
        })
        .await;
    }

    /// Waits until there are this many elements of a selector.
    pub(crate) async fn wait_for_count(&self, selector: &str, count: usize) {
        let expression = format!(
            "document.querySelectorAll({}).length === {count}",
            json!(selector)
        );
        self.wait_for(&format!("{count} of {selector}"), &expression)
            .await;
    }

    /// Waits until the last message is answered and its answer contains this text.
    pub(crate) async fn wait_for_answer(&self, text: &str) {
        self.wait_for(
            "the answer",
            &format!(
                "[...document.querySelectorAll('.turn')].at(-1)?.matches('[data-state=succeeded]') \
                 && [...document.querySelectorAll('.answer')].at(-1).innerText.includes({})",
                json!(text)
            ),
        )
        .await;
    }

    /// Waits until the conversation consists of this many answered messages.
    pub(crate) async fn wait_for_answered_messages(&self, count: usize) {
        self.wait_for(
            &format!("{count} answered messages"),
            &format!(
                "document.querySelectorAll('.turn').length === {count} \
                 && document.querySelectorAll('.turn[data-state=succeeded]').length === {count} \
                 && document.querySelectorAll('.turn .bubble').length === {count}"
            ),
        )
        .await;
    }

    /// Waits until a turn is in this state.
    pub(crate) async fn wait_for_turn(&self, state: &str) {
        self.wait_for(
            &format!("a turn that is {state}"),
            &format!("document.querySelector('.turn[data-state={state}]')"),
        )
        .await;
    }

    pub(crate) async fn wait_for_dialog(&self) {
        self.wait_for("the dialog", "document.querySelector('dialog[open]')")
            .await;
    }

    pub(crate) async fn wait_until_dialog_closed(&self) {
        self.wait_for("no dialog", "!document.querySelector('dialog')")
            .await;
    }

    /// Confirms the dialog that is about to open.
    pub(crate) async fn confirm_dialog(&self) {
        self.click("dialog[open] [type=submit]").await;
        self.wait_until_dialog_closed().await;
    }

    pub(crate) async fn send_message(&self, text: &str) {
        self.type_into("#message", text).await;
        self.press(Key::Enter).await;
    }

    /// The visible texts of all elements of a selector.
    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let texts = self
            .js(&format!(
                "return [...document.querySelectorAll({})].map((element) => element.innerText)",
                json!(selector)
            ))
            .await;
        serde_json::from_value(texts).unwrap()
    }

    /// The user's messages, oldest first.
    pub(crate) async fn messages(&self) -> Vec<String> {
        self.texts(".bubble").await
    }

    /// The answers, oldest first.
    pub(crate) async fn answers(&self) -> Vec<String> {
        self.texts(".answer").await
    }

    /// The part of the address that names the open conversation, such as `#/c/<id>`.
    pub(crate) async fn fragment(&self) -> String {
        let fragment = self.js("return location.hash").await;
        fragment.as_str().unwrap().to_owned()
    }

    /// The id of the open conversation.
    pub(crate) async fn conversation_id(&self) -> String {
        self.fragment()
            .await
            .strip_prefix("#/c/")
            .expect("a conversation")
            .to_owned()
    }

    /// Waits for an element and clicks it.
    pub(crate) async fn click(&self, selector: &str) {
        self.bring_to_front().await;
        self.wait_for(
            "an element to click",
            &format!("document.querySelector({})", json!(selector)),
        )
        .await;
        for _ in 0..CLICK_ATTEMPTS {
            let element = self.browser.find(By::Css(selector)).await.unwrap();
            match element.click().await {
                // The page has redrawn the element since it was found.
                Err(error) if matches!(*error, WebDriverErrorInner::StaleElementReference(_)) => {}
                clicked => return clicked.unwrap(),
            }
        }
        panic!("{selector} was replaced before each of {CLICK_ATTEMPTS} clicks");
    }

    /// Types a text into a field in place of its content.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        self.bring_to_front().await;
        let field = self.browser.find(By::Css(selector)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Presses keys in the element that has the focus.
    pub(crate) async fn press(&self, keys: impl Into<TypingData>) {
        self.bring_to_front().await;
        self.browser
            .active_element()
            .await
            .unwrap()
            .send_keys(keys)
            .await
            .unwrap();
    }

    /// Presses Tab until the focus is on an element whose name starts with a label.
    pub(crate) async fn tab_to(&self, label: &str) {
        self.move_focus_to(label, || Key::Tab.into()).await;
    }

    /// The same backwards, with Shift and Tab.
    pub(crate) async fn tab_back_to(&self, label: &str) {
        self.move_focus_to(label, || Key::Shift + Key::Tab).await;
    }

    async fn move_focus_to(&self, label: &str, key: impl Fn() -> TypingData) {
        for _ in 0..MAX_FOCUS_STEPS {
            self.press(key()).await;
            if !self.focused_element().await.starts_with(label) {
                continue;
            }
            let is_visible = "const focused = document.activeElement; \
                              return focused.matches(':focus-visible') && focused.checkVisibility({opacityProperty: true})";
            assert_eq!(
                self.js(is_visible).await,
                true,
                "the focus on {label} is not visible"
            );
            return;
        }
        panic!("{label} cannot be reached with the keyboard");
    }

    /// The name of the element that has the focus, or an empty text.
    pub(crate) async fn focused_element(&self) -> String {
        let name = self
            .js("const focused = document.activeElement; \
                 return focused === document.body ? '' : focused.getAttribute('aria-label') ?? focused.innerText")
            .await;
        name.as_str().unwrap_or_default().to_owned()
    }

    /// Removes the focus, so that the next Tab starts at the top of the page.
    pub(crate) async fn reset_focus(&self) {
        self.js("document.activeElement.blur(); window.focus()").await;
    }

    /// Runs a script and returns its value.
    pub(crate) async fn js(&self, script: &str) -> Value {
        self.bring_to_front().await;
        let returned = self.browser.execute(script, Vec::new()).await.unwrap();
        returned.json().clone()
    }

    /// From now on holds back responses to requests whose path matches a pattern.
    pub(crate) async fn hold_responses(&self, path_pattern: &str) {
        self.js(&format!(
            "const send = window.fetch;
             const released = new Promise((resolve) => {{ window.releaseResponses = resolve; }});
             window.fetch = async (path, ...options) => {{
                 const response = await send(path, ...options);
                 if (!new RegExp({pattern}).test(path)) return response;
                 const text = await response.text();
                 window.isResponseHeld = true;
                 await released;
                 // The page handles the response in microtasks, all of which run before the next task.
                 setTimeout(() => {{ window.isResponseHandled = true; }});
                 return {{ ok: response.ok, status: response.status, headers: response.headers, text: async () => text }};
             }};",
            pattern = json!(path_pattern)
        ))
        .await;
    }

    pub(crate) async fn wait_for_held_response(&self) {
        self.wait_for("a held response", "window.isResponseHeld").await;
    }

    /// Releases held responses and waits until the page has handled one.
    pub(crate) async fn release_responses(&self) {
        self.js("window.releaseResponses()").await;
        self.wait_for("a handled response", "window.isResponseHandled")
            .await;
    }

    /// Emulates the screen of a phone.
    pub(crate) async fn emulate_phone(&self) {
        let metrics = json!({"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true});
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Sets the system theme: `light` or `dark`.
    pub(crate) async fn set_system_theme(&self, theme: &str) {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.cdp("Emulation.setEmulatedMedia", media).await;
    }

    /// Sends a command of the Chrome `DevTools` protocol.
    async fn cdp(&self, command: &str, parameters: Value) {
        self.bring_to_front().await;
        self.browser.cdp().send_raw(command, parameters).await.unwrap();
    }

    /// Saves a screenshot if `ERRAND_TEST_PICTURES` names a folder, for work on the design.
    pub(crate) async fn screenshot(&self, name: &str) {
        self.bring_to_front().await;
        if let Some(folder) = errand_testkit::variable("ERRAND_TEST_PICTURES") {
            let path = std::path::PathBuf::from(folder).join(format!("{name}.png"));
            self.browser.screenshot(&path).await.unwrap();
        }
    }

    async fn bring_to_front(&self) {
        self.browser.switch_to_window(self.tab.clone()).await.unwrap();
    }
}
