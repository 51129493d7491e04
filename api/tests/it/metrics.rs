//! `/metrics` of both programs, compared with `docs/METRICS.md`, and `Server-Timing` of a chat.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{AgentsFile, McpFixture, TestApp, eventually};
use reqwest::Method;

/// Metrics by name: the type and the labels.
type Table = BTreeMap<String, (String, BTreeSet<String>)>;

/// The metrics that the document lists under these headings.
fn documented(headings: &[&str]) -> Table {
    let document = include_str!("../../../docs/METRICS.md");
    let mut table = Table::new();
    let mut heading = "";
    for line in document.lines() {
        if let Some(title) = line.strip_prefix("#") {
            heading = title.trim_start_matches('#').trim();
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if !headings.contains(&heading) || cells.len() < 5 || !cells[1].starts_with('`') {
            continue;
        }
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        let name = cells[1].trim_matches('`').to_owned();
        let before = table.insert(name, (cells[2].to_owned(), labels));
        assert_eq!(before, None, "twice: {line}");
    }
    table
}

/// The metrics that a program exports.
fn shown(text: &str) -> Table {
    let mut table = Table::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            table.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (series, _value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series
                .trim_end_matches('}')
                .split_once('{')
                .unwrap_or((series, ""));
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|base| table.contains_key(*base))
                .unwrap_or(name);
            let names = labels
                .split("\",")
                .filter_map(|label| Some(label.split_once('=')?.0));
            let known = &mut table.get_mut(base).unwrap().1;
            known.extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
    table
}

/// The value of one counter.
fn count(text: &str, series: &str) -> u64 {
    let value = value_of(text, series);
    value.strip_suffix(".0").unwrap_or(value).parse().unwrap()
}

fn value_of<'a>(text: &'a str, series: &str) -> &'a str {
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.rsplit_once(' ').unwrap().1
}

#[tokio::test]
async fn every_metric_is_documented_and_exported() {
    let shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file(""));
    let app = TestApp::builder()
        .api(file.setting())
        .worker(file.setting())
        .start()
        .await;
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Add a task to buy milk").await.status, 200);
    assert_eq!(
        shown(&app.api_metrics().await),
        documented(&["API and worker", "API", "Database"])
    );
    assert_eq!(
        shown(&app.worker_metrics().await),
        documented(&["API and worker", "Worker"])
    );
}

#[tokio::test]
async fn a_chat_is_counted() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Add a task to buy milk").await.tools(), ["add_task"]);
    let api = app.api_metrics().await;
    assert_eq!(count(&api, "errand_posts_total{outcome=\"stored\"}"), 1);
    let chat = "method=\"POST\",route=\"/api/{user_id}/chat\"";
    assert_eq!(
        count(
            &api,
            &format!("errand_http_requests_total{{{chat},status=\"200\"}}")
        ),
        1
    );
    assert_eq!(
        count(
            &api,
            &format!("errand_http_request_duration_seconds_count{{{chat}}}")
        ),
        1
    );
    // The worker notifies for the next run after it has published the end.
    eventually("the attempt is counted", || async {
        let worker = app.worker_metrics().await;
        count(
            &worker,
            "errand_run_duration_seconds_count{outcome=\"succeeded\"}",
        ) > 0
    })
    .await;
    let worker = app.worker_metrics().await;
    for (series, expected) in [
        ("errand_run_claims_total", 1),
        ("errand_notifications_received_total", 1),
        ("errand_run_queue_wait_seconds_count", 1),
        ("errand_run_start_delay_seconds_count", 1),
        ("errand_run_response_seconds_count{status=\"succeeded\"}", 1),
        ("errand_step_duration_seconds_count", 2),
        ("errand_finish_duration_seconds_count", 1),
        ("errand_model_requests_total{outcome=\"ok\"}", 2),
        ("errand_model_request_duration_seconds_count", 2),
        ("errand_model_time_to_first_token_seconds_count", 2),
        (
            "errand_tool_calls_total{tool=\"add_task\",outcome=\"succeeded\"}",
            1,
        ),
        ("errand_tools_duration_seconds_count", 1),
        ("errand_worker_runs_in_flight", 0),
        ("errand_model_requests_in_flight", 0),
        ("errand_worker_capacity", 1000),
        ("errand_redis_listening", 1),
    ] {
        assert_eq!(count(&worker, series), expected, "{series}");
    }
    assert!(count(&worker, "errand_model_tokens_total{direction=\"prompt\"}") > 0);
}

#[tokio::test]
async fn model_errors_are_counted_by_kind() {
    let app = TestApp::builder().worker("--model-retries=1").start().await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("fail", [Behaviour::status(429), Behaviour::status(503)]));
    assert_eq!(user.chat("fail, please").await.status, 502);
    eventually("the attempt is counted", || async {
        let worker = app.worker_metrics().await;
        count(&worker, "errand_run_duration_seconds_count{outcome=\"failed\"}") > 0
    })
    .await;
    let worker = app.worker_metrics().await;
    for series in [
        "errand_model_errors_total{kind=\"rate_limited\"}",
        "errand_model_errors_total{kind=\"server_error\"}",
        "errand_model_retries_total{kind=\"rate_limited\"}",
        "errand_run_failures_total{kind=\"model\"}",
    ] {
        assert_eq!(count(&worker, series), 1, "{series}");
    }
}

#[tokio::test]
async fn the_queue_is_visible_without_workers() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let first = user.chat_async(None, "Add milk").await;
    let behind = user
        .chat_async(Some(first.id("conversation_id")), "Add bread")
        .await;
    let api = app.api_metrics().await;
    for (series, expected) in [
        ("errand_database_readable", 1),
        ("errand_runs{status=\"queued\"}", 2),
        ("errand_queue_depth", 1),
        ("errand_workers{state=\"alive\"}", 0),
        ("errand_workers_capacity", 0),
        ("errand_queue_paused", 0),
    ] {
        assert_eq!(count(&api, series), expected, "{series}");
    }
    for run in [&behind, &first] {
        let cancel = format!("/runs/{}/cancel", run.text("run_id"));
        user.post(&cancel, serde_json::json!({})).await;
    }
}

#[tokio::test]
async fn a_queued_message_has_a_position_and_users_are_served_in_turn() {
    let app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let bob = app.user("Bob").await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(ada.chat_async(None, "Hello").await.id("run_id"));
    }
    // Figures are cached for two seconds.
    eventually("the five runs are counted", || async {
        let waiting = ada.get(&format!("/runs/{}", runs[4])).await;
        waiting.status == 202 && waiting.body["queue"]["place"] == 5
    })
    .await;
    let last = bob.chat_async(None, "Hello").await;
    assert_eq!(last.status, 202);
    assert_eq!(last.body["queue"]["place"], 2, "{}", last.body);
    assert_eq!(last.body["queue"]["estimate_seconds"], serde_json::Value::Null);
    let _worker = app.start_worker().await;
    let answered = bob.wait(last.id("run_id")).await;
    assert_eq!(answered.body.get("queue"), None);
    app.drained().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_create_no_series() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let made_up = Method::from_bytes(b"BREW").unwrap();
    let url = format!("{}/coffee/{}", app.url(), user.id);
    app.http().request(made_up, url).send().await.unwrap();
    let api = app.api_metrics().await;
    let series = "errand_http_requests_total{method=\"other\",route=\"none\",status=\"404\"}";
    assert_eq!(count(&api, series), 1);
    assert!(!api.contains("coffee") && !api.contains("BREW"));
}

/// The times of `Server-Timing`, in milliseconds.
fn timing(headers: &reqwest::header::HeaderMap) -> BTreeMap<String, f64> {
    let text = headers["server-timing"].to_str().unwrap();
    text.split(", ")
        .map(|metric| {
            let (name, duration) = metric.split_once(";dur=").unwrap();
            (name.to_owned(), duration.parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_chat_has_server_timing() {
    const THINKS: Duration = Duration::from_millis(60);
    let app = TestApp::builder().worker("--model-retries=0").start().await;
    let user = app.user("Ada").await;
    let script = Script::new()
        .when(
            "milk",
            [
                Behaviour::tool_call("add_task", r#"{"title":"milk"}"#).after(THINKS),
                Behaviour::reply("Done.").after(THINKS),
            ],
        )
        .when("fail", [Behaviour::status(503).after(THINKS)]);
    app.model.script(script);
    let chat = user.chat("Add milk").await;
    assert_eq!(chat.status, 200, "{}", chat.body);
    let times = timing(&chat.headers);
    let names: Vec<_> = times.keys().map(String::as_str).collect();
    assert_eq!(names, ["accept", "model", "persist", "queue", "tools"]);
    assert!(times["model"] >= 120.0, "{times:?}");
    assert!(times["tools"] > 0.0 && times["persist"] > 0.0, "{times:?}");

    let failed = user.chat("fail, please").await;
    assert_eq!(failed.status, 502, "{}", failed.body);
    assert!(timing(&failed.headers)["model"] >= 60.0, "{:?}", failed.headers);

    let again = user.wait(chat.id("run_id")).await;
    assert!(timing(&again.headers)["model"] >= 118.0, "{:?}", again.headers);
    let pending = user.chat_async(None, "Hello").await;
    assert_eq!(timing(&pending.headers).len(), 1);
    user.wait(pending.id("run_id")).await;
}
