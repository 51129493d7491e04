//! The admin page on a phone, in dark mode and with the keyboard.

use errand_fake_model::Gate;
use errand_testkit::TestApp;
use serde_json::json;
use thirtyfour::Key;

use crate::{
    browser_test::{BrowserTest, gated_script},
    page::Page,
};

const SECTIONS: [&str; 5] = ["", "runs", "dead", "workers", "capacity"];

/// How much wider the content is than the window, in pixels. Only tables may scroll sideways.
const OVERFLOW: &str = "const main = document.querySelector('.admin-main'); \
                        return document.documentElement.scrollWidth - document.documentElement.clientWidth \
                        + main.scrollWidth - main.clientWidth";

/// How many visible charts have no title or no description.
const CHARTS_WITHOUT_TEXT: &str = "\
    const hasText = (chart, attribute) => document.getElementById(chart.getAttribute(attribute))?.textContent; \
    return [...document.querySelectorAll('svg:not([aria-hidden=true])')].filter((chart) => chart.getAttribute('role') !== 'img' \
        || !hasText(chart, 'aria-labelledby') || !hasText(chart, 'aria-describedby')).length";

/// The texts whose contrast with their background is below 4.5, each with its contrast.
const LOW_CONTRAST_TEXTS: &str = "\
    const luminance = ([r, g, b]) => { const [x, y, z] = [r, g, b].map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * x + 0.7152 * y + 0.0722 * z; };\
    const colour = (text) => { const parts = text.match(/[\\d.]+/g).map(Number); return parts.length === 4 && parts[3] === 0 ? null : parts; };\
    const background = (element) => { for (let at = element; at; at = at.parentElement) { const found = colour(getComputedStyle(at).backgroundColor); if (found) return found; } return [255, 255, 255]; };\
    return [...document.querySelectorAll('main *, header *')].filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && element.checkVisibility() && !element.closest('svg') && !element.disabled)\
        .map((element) => { const pair = [luminance(colour(getComputedStyle(element).color)), luminance(background(element))].sort((a, b) => b - a); return [element.textContent, (pair[0] + 0.05) / (pair[1] + 0.05)]; })\
        .filter(([, contrast]) => contrast < 4.5)";

/// How many columns have no name.
const UNNAMED_COLUMNS: &str =
    "return [...document.querySelectorAll('thead th')].filter((column) => column.textContent === '').length";

/// Opens a section and waits until it shows its data.
async fn open_section(page: &Page, section: &str) {
    page.open(&format!("admin#/{section}")).await;
    page.wait_for("the page", "document.querySelector('.admin-main h1')")
        .await;
    wait_for_data(page, section).await;
}

async fn wait_for_data(page: &Page, section: &str) {
    let data = match section {
        "" => "document.querySelector('.figure')",
        "capacity" => "document.querySelector('.formula')",
        _ => "document.querySelector('tbody tr') || document.querySelector('.muted:not([hidden])')",
    };
    page.wait_for("the data", data).await;
}

#[tokio::test]
async fn page_fits_a_phone_and_charts_and_columns_have_names() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let user = test.app.user("Ada").await;
        let run = user.chat("Add a task to buy milk").await.id("run_id");
        let run_section = format!("run/{run}");
        let (_, page) = test.signed_in_admin("").await;
        page.emulate_phone().await;

        for section in SECTIONS.into_iter().chain([run_section.as_str()]) {
            open_section(&page, section).await;

            assert_eq!(page.js(OVERFLOW).await, 0, "{section}");
            assert_eq!(page.js(CHARTS_WITHOUT_TEXT).await, 0, "{section}");
            assert_eq!(page.js(UNNAMED_COLUMNS).await, 0, "{section}");
            let name = section.split('/').next().unwrap_or_default();
            page.screenshot(&format!("admin-phone-{name}")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn text_has_enough_contrast_in_light_and_dark_mode() {
    let gate = Gate::new();
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given a succeeded, a running and a queued run, which all have colours of their own.
        test.app.model.script(gated_script(&gate));
        let user = test.app.user("Ada").await;
        let conversation = user.chat("Add a task to buy milk").await.id("conversation_id");
        user.chat_async(Some(conversation), "wait").await;
        gate.wait_arrived(1).await;
        user.chat_async(Some(conversation), "Hello").await;
        let (_, page) = test.signed_in_admin("").await;

        for theme in ["light", "dark"] {
            page.set_system_theme(theme).await;
            for section in SECTIONS {
                open_section(&page, section).await;

                assert_eq!(page.js(LOW_CONTRAST_TEXTS).await, json!([]), "{theme} {section}");
                page.screenshot(&format!("admin-{theme}-{section}")).await;
            }
        }
        gate.release();
    })
    .await;
}

#[tokio::test]
async fn page_can_be_used_with_the_keyboard_alone() {
    BrowserTest::run(TestApp::builder(), async |test| {
        let user = test.app.user("Ada").await;
        let run = user.chat("Hello").await.id("run_id");
        let (_, page) = test.signed_in_admin("").await;
        wait_for_data(&page, "").await;

        // Skip the navigation.
        page.reset_focus().await;
        page.tab_to("Skip to the content").await;
        page.press(Key::Enter).await;
        page.wait_for("the heading", "document.activeElement.tagName === 'H1'")
            .await;

        // Pause the queue.
        page.tab_to("Pause the queue").await;
        page.press(Key::Enter).await;
        page.wait_for_dialog().await;
        page.tab_to("Pause").await;
        page.press(Key::Enter).await;
        page.wait_for(
            "the paused queue",
            "document.querySelector('#queue-switch').innerText === 'Resume the queue'",
        )
        .await;

        // Open a run.
        page.open("admin#/runs").await;
        page.wait_for_count(&format!("[data-run=\"{run}\"]"), 1).await;
        let end_of_id: String = run.to_string().chars().skip(28).collect();
        page.tab_to(&format!("…{end_of_id}")).await;
        page.press(Key::Enter).await;
        page.wait_for("the timeline", "document.querySelector('.timeline tbody tr')")
            .await;
        assert_eq!(page.js("return document.activeElement.tagName").await, "H1");
    })
    .await;
}
