//! The page for admins on a phone, in the dark, and without a mouse.

use errand_testkit::TestApp;
use serde_json::json;
use thirtyfour::Key;

use crate::{page::Page, stage::Stage};

const PLACES: [&str; 5] = ["", "runs", "dead", "workers", "capacity"];

/// How much wider the content is than the window, which scrolls in its tables only.
const OVERFLOW: &str = "const main = document.querySelector('.admin-main'); \
                        return document.documentElement.scrollWidth - document.documentElement.clientWidth \
                        + main.scrollWidth - main.clientWidth";

/// Waits until a place shows what it has read.
async fn until_read(page: &Page, place: &str) {
    let seen = match place {
        "" => "document.querySelector('.figure')",
        "capacity" => "document.querySelector('.formula')",
        _ => "document.querySelector('tbody tr') || document.querySelector('.soft:not([hidden])')",
    };
    page.until("the place", seen).await;
}

#[tokio::test]
async fn nothing_is_wider_than_a_phone_and_every_picture_has_words() {
    Stage::play(TestApp::builder(), async |stage| {
        let user = stage.app.user("Ada").await;
        let run = user.chat("Add a task to buy milk").await.id("run_id");
        let (_, page) = stage.admin("").await;
        page.device(360, 740, true).await;
        let run = format!("run/{run}");
        for place in PLACES.into_iter().chain([run.as_str()]) {
            page.open(&format!("admin#/{place}")).await;
            page.until("the page", "document.querySelector('.admin-main h1')")
                .await;
            until_read(&page, place).await;
            assert_eq!(page.js(OVERFLOW).await, 0, "{place}");
            let wordless = "return [...document.querySelectorAll('svg')].filter((svg) => svg.getAttribute('aria-hidden') !== 'true' \
                            && !(svg.getAttribute('role') === 'img' && document.getElementById(svg.getAttribute('aria-labelledby'))?.textContent \
                            && document.getElementById(svg.getAttribute('aria-describedby'))?.textContent)).length";
            assert_eq!(page.js(wordless).await, 0, "{place}");
            let name = place.split('/').next().unwrap_or_default();
            page.picture(&format!("admin-phone-{name}")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn it_is_dark_where_the_system_is_and_legible() {
    Stage::play(TestApp::builder(), async |stage| {
        let user = stage.app.user("Ada").await;
        user.chat("Add a task to buy milk").await;
        let (_, page) = stage.admin("").await;
        for theme in ["light", "dark"] {
            page.system_theme(theme).await;
            for place in PLACES {
                page.open(&format!("admin#/{place}")).await;
                page.until("the page", "document.querySelector('.admin-main h1')")
                    .await;
                until_read(&page, place).await;
                page.picture(&format!("admin-{theme}-{place}")).await;
                assert_eq!(page.js(FAINT).await, json!([]), "{theme} {place}");
            }
        }
    })
    .await;
}

/// Texts whose contrast with their ground is below 4.5.
const FAINT: &str = "\
    const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * x + 0.7152 * y + 0.0722 * z; };\
    const colour = (text) => { const all = text.match(/[\\d.]+/g).map(Number); return all.length === 4 && all[3] === 0 ? null : all; };\
    const ground = (one) => { for (let at = one; at; at = at.parentElement) { const found = colour(getComputedStyle(at).backgroundColor); if (found) return found; } return [255, 255, 255]; };\
    return [...document.querySelectorAll('main *, header *')].filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && one.checkVisibility() && !one.closest('svg') && !one.disabled)\
        .map((one) => { const pair = [light(colour(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a); return [one.textContent, (pair[0] + 0.05) / (pair[1] + 0.05)]; })\
        .filter(([, contrast]) => contrast < 4.5)";

#[tokio::test]
async fn everything_can_be_reached_with_the_keyboard() {
    Stage::play(TestApp::builder(), async |stage| {
        let user = stage.app.user("Ada").await;
        let run = user.chat("Hello").await.id("run_id");
        let (_, page) = stage.admin("").await;
        until_read(&page, "").await;
        page.js("document.activeElement.blur(); window.focus()").await;
        walk(&page, "Skip to the content").await;
        page.press(Key::Enter).await;
        page.until("the heading", "document.activeElement.tagName === 'H1'")
            .await;
        walk(&page, "Pause the queue").await;
        page.press(Key::Enter).await;
        page.until("the question", "document.querySelector('dialog[open]')")
            .await;
        walk(&page, "Pause").await;
        page.press(Key::Enter).await;
        page.until(
            "the pause",
            "document.querySelector('#queue-switch').innerText === 'Resume the queue'",
        )
        .await;
        page.open("admin#/runs").await;
        page.until(
            "the run",
            &format!("document.querySelector('[data-run=\"{run}\"]')"),
        )
        .await;
        let end: String = run.to_string().chars().skip(28).collect();
        walk(&page, &format!("…{end}")).await;
        page.press(Key::Enter).await;
        page.until("its timeline", "document.querySelector('.timeline tbody tr')")
            .await;
        assert_eq!(page.js("return document.activeElement.tagName").await, "H1");
    })
    .await;
}

/// Presses Tab until the focus, which must be visible, is on what is called so.
async fn walk(page: &Page, label: &str) {
    let named = "const at = document.activeElement; return at === document.body ? '' : at.getAttribute('aria-label') ?? at.innerText";
    for _ in 0..40 {
        page.press(Key::Tab).await;
        if page.js(named).await == label {
            let seen = "return document.activeElement.matches(':focus-visible')";
            assert_eq!(
                page.js(seen).await,
                true,
                "the focus on {label} is not to be seen"
            );
            return;
        }
    }
    panic!("no way to {label}");
}
