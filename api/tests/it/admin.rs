//! `/admin`: access, the overview, and changes to runs, the queue and workers.

use errand_fake_model::{Behaviour, Script};
use errand_shared::Uuid;
use errand_testkit::{Reply, TestApp, eventually};
use reqwest::Method;
use serde_json::{Value, json};

/// Every admin route, with this id where it needs one.
fn routes(id: &str) -> Vec<(Method, String)> {
    let get = ["overview", "capacity", "runs"].map(|path| (Method::GET, path.to_owned()));
    let post = ["queue/pause", "queue/resume"].map(|path| (Method::POST, path.to_owned()));
    get.into_iter().chain(post).chain(routes_of_one(id)).collect()
}

fn routes_of_one(id: &str) -> Vec<(Method, String)> {
    let post = [
        "runs/{}/retry",
        "runs/{}/cancel",
        "workers/{}/drain",
        "workers/{}/undrain",
    ];
    let post = post.map(|path| (Method::POST, path.replace("{}", id)));
    std::iter::once((Method::GET, format!("runs/{id}")))
        .chain(post)
        .collect()
}

#[tokio::test]
async fn only_admins_have_access() {
    let app = TestApp::builder().workers(0).start().await;
    let (user, admin) = (app.user("Ada").await, app.admin().await);
    let send = async |method: &Method, path: &str, token: Option<&str>| {
        let request = app
            .http()
            .request(method.clone(), format!("{}/admin/{path}", app.url()));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        Reply::read(request).await
    };
    let id = Uuid::now_v7().to_string();
    for (method, path) in routes(&id) {
        let anonymous = send(&method, &path, None).await;
        assert_eq!(anonymous.status, 401, "{path}");
        assert!(anonymous.headers.contains_key("www-authenticate"), "{path}");
        assert_eq!(send(&method, &path, Some("x.y.z")).await.status, 401, "{path}");
        let stranger = send(&method, &path, Some(&user.token)).await;
        assert_eq!(stranger.status, 403, "{path}");
        assert_eq!(
            stranger.headers["content-type"], "application/problem+json",
            "{path}"
        );
    }
    for (method, path) in routes_of_one("none") {
        assert_eq!(
            send(&method, &path, Some(&user.token)).await.status,
            403,
            "{path}"
        );
        assert_eq!(
            send(&method, &path, Some(&admin.token)).await.status,
            422,
            "{path}"
        );
    }
    for (method, path) in routes_of_one(&id) {
        assert_eq!(
            send(&method, &path, Some(&admin.token)).await.status,
            404,
            "{path}"
        );
    }
    let paused = "SELECT count(*) FROM queue_control WHERE paused_at IS NOT NULL";
    assert_eq!(app.database.count(paused).await, 0, "no other run has changed");
}

#[tokio::test]
async fn overview_shows_open_runs_workers_and_finished_runs() {
    let app = TestApp::builder().workers(0).start().await;
    let (user, admin) = (app.user("Ada").await, app.admin().await);
    let idle = admin.admin_get("/overview").await;
    assert_eq!(idle.status, 200, "{}", idle.body);
    assert_eq!(idle.body["oldest_wait_seconds"], Value::Null);
    assert_eq!(idle.body["workers"], json!([]));
    let first = user.chat_async(None, "Hello").await;
    user.chat_async(Some(first.id("conversation_id")), "Hello again")
        .await;
    app.database
        .execute("UPDATE runs SET queued_at = queued_at - interval '1 hour', available_at = now()")
        .await
        .unwrap();
    let waiting = admin.admin_get("/overview").await.body;
    assert_eq!((&waiting["queued"], &waiting["running"]), (&json!(2), &json!(0)));
    assert!(
        waiting["oldest_wait_seconds"].as_f64().unwrap() < 600.0,
        "a released run has waited since its release: {waiting}"
    );
    app.database
        .execute("UPDATE runs SET available_at = queued_at")
        .await
        .unwrap();
    let waiting = admin.admin_get("/overview").await.body;
    assert!(
        waiting["oldest_wait_seconds"].as_f64().unwrap() >= 3600.0,
        "{waiting}"
    );
    let worker = app.start_worker().await;
    app.drained().await;
    let done = admin.admin_get("/overview").await.body;
    assert_eq!(done["runs_by_status"]["succeeded"], 2, "{done}");
    assert_eq!(done["runs_by_status"]["queued"], 0, "{done}");
    assert_eq!(done["workers"][0]["id"], worker.id.to_string());
    assert_eq!(done["workers"][0]["concurrency"], 1000);
    assert_eq!(done["workers"][0]["draining"], false);
    let capacity = admin.admin_get("/capacity").await.body;
    assert_eq!(
        (&capacity["workers"], &capacity["sample_runs"]),
        (&json!(1), &json!(2)),
        "{capacity}"
    );
    assert!(
        capacity["formula"]
            .as_str()
            .unwrap()
            .starts_with("workers = ceil("),
        "{capacity}"
    );
}

#[tokio::test]
async fn runs_are_filtered_by_status_and_user_and_paged() {
    let app = TestApp::builder().workers(0).start().await;
    let (ada, eve, admin) = (app.user("Ada").await, app.user("Eve").await, app.admin().await);
    let mut runs = Vec::new();
    for user in [&ada, &eve, &ada, &eve, &ada] {
        runs.push(user.chat_async(None, "a secret").await.id("run_id"));
    }
    runs.reverse();
    for (user, run) in [(&eve, runs[1]), (&ada, runs[2])] {
        user.post(&format!("/runs/{run}/cancel"), Value::Null).await;
    }
    let ids = async |query: &str| {
        let page = admin.admin_get(&format!("/runs?{query}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(!page.body.to_string().contains("secret"));
        let items = page.body["items"].as_array().unwrap().iter();
        let ids: Vec<Uuid> = items
            .map(|run| run["run_id"].as_str().unwrap().parse().unwrap())
            .collect();
        (ids, page.body["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(ids("").await, (runs.clone(), None));
    let ada_id = ada.id;
    for (query, expected) in [
        ("status=queued".to_owned(), vec![runs[0], runs[3], runs[4]]),
        ("status=cancelled".to_owned(), vec![runs[1], runs[2]]),
        ("status=succeeded".to_owned(), vec![]),
        (format!("user_id={ada_id}"), vec![runs[0], runs[2], runs[4]]),
        (format!("user_id={ada_id}&status=queued"), vec![runs[0], runs[4]]),
        (format!("user_id={}", Uuid::nil()), vec![]),
    ] {
        assert_eq!(ids(&query).await, (expected.clone(), None), "{query}");
        let (mut found, mut cursor) = (Vec::new(), Some(String::new()));
        while let Some(at) = cursor.take() {
            let at = if at.is_empty() {
                at
            } else {
                format!("&cursor={at}")
            };
            let (page, next) = ids(&format!("{query}&limit=1{at}")).await;
            assert!(page.len() <= 1);
            found.extend(page);
            cursor = next;
        }
        assert_eq!(found, expected, "{query}");
    }
    for bad in ["status=dead", "user_id=me", "cursor=x", "limit=0", "limit=101"] {
        assert_eq!(
            admin.admin_get(&format!("/runs?{bad}")).await.status,
            422,
            "{bad}"
        );
    }
    for run in [runs[0], runs[3], runs[4]] {
        let cancelled = admin.admin_post(&format!("/runs/{run}/cancel")).await;
        assert_eq!(
            (cancelled.status.as_u16(), cancelled.text("status")),
            (202, "cancelled")
        );
        let again = admin.admin_post(&format!("/runs/{run}/cancel")).await;
        assert_eq!((again.status.as_u16(), again.text("status")), (200, "cancelled"));
    }
}

#[tokio::test]
async fn a_run_shows_its_steps_without_message_content() {
    let app = TestApp::start().await;
    let (user, admin) = (app.user("Ada").await, app.admin().await);
    let run = user.chat("Add a task to buy milk").await.id("run_id");
    let seen = admin.admin_get(&format!("/runs/{run}")).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    assert_eq!(seen.body["status"], "succeeded");
    assert_eq!(seen.body["user_id"], user.id.to_string());
    let steps = seen.body["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2, "{}", seen.body);
    assert_eq!(steps[0]["tool_calls"][0]["tool_name"], "add_task");
    assert_eq!(steps[0]["tool_calls"][0]["success"], true);
    assert_eq!(steps[0]["tool_calls"][0]["error"], Value::Null);
    assert!(steps[1]["created_at"].is_string() && steps[1]["model_ms"].is_i64());
    assert!(!seen.body.to_string().contains("milk"), "{}", seen.body);
    let wrong = Behaviour::tool_call("delete_task", r#"{"task_id":99}"#);
    app.model
        .script(Script::new().then([wrong, Behaviour::reply("I found no such task.")]));
    let failed = user.chat("Delete it").await;
    let seen = admin
        .admin_get(&format!("/runs/{}", failed.id("run_id")))
        .await
        .body;
    let call = &seen["steps"][0]["tool_calls"][0];
    assert_eq!(
        (&call["success"], &call["error"]),
        (&json!(false), &json!("TASK_NOT_FOUND")),
        "{seen}"
    );
}

#[tokio::test]
async fn a_failed_run_has_a_reason_and_only_the_last_can_be_retried() {
    let app = TestApp::start().await;
    let (user, admin) = (app.user("Ada").await, app.admin().await);
    let refused = || Behaviour::status(400);
    let script = Script::new().when("bad", [refused(), refused(), Behaviour::reply("Better.")]);
    app.model.script(script.otherwise(Behaviour::reply("Hello.")));
    let first = user.chat("bad one").await;
    assert_eq!(first.status, 502, "{}", first.body);
    let conversation = user
        .get(&format!("/runs/{}", first.text("run_id")))
        .await
        .id("conversation_id");
    let second = user.chat_in(conversation, "bad two").await;
    assert_eq!(second.status, 502, "{}", second.body);

    let dead_letters = admin.admin_get("/runs?status=failed").await.body;
    assert_eq!(
        dead_letters["items"].as_array().unwrap().len(),
        2,
        "{dead_letters}"
    );
    let letter = &dead_letters["items"][0];
    assert_eq!(letter["run_id"], second.text("run_id"));
    assert_eq!(
        letter["reason"],
        "the model provider rejected the request; an administrator can see why (status 400)"
    );
    assert!(
        letter["last_error"]
            .as_str()
            .unwrap()
            .starts_with("model: status 400"),
        "{letter}"
    );
    assert_eq!((&letter["attempt"], &letter["rescues"]), (&json!(1), &json!(0)));

    let not_last = admin
        .admin_post(&format!("/runs/{}/retry", first.text("run_id")))
        .await;
    assert_eq!(not_last.status, 409, "{}", not_last.body);
    let retried = admin
        .admin_post(&format!("/runs/{}/retry", second.text("run_id")))
        .await;
    assert_eq!(retried.status, 202, "{}", retried.body);
    assert_eq!(user.wait(second.id("run_id")).await.text("message"), "Better.");
    let succeeded = admin
        .admin_post(&format!("/runs/{}/retry", second.text("run_id")))
        .await;
    assert_eq!(succeeded.status, 409);
}

#[tokio::test]
async fn pausing_and_draining_twice_changes_nothing() {
    let mut app = TestApp::start().await;
    let admin = app.admin().await;
    let paused = admin.admin_post("/queue/pause").await;
    assert_eq!(
        (paused.status.as_u16(), &paused.body["paused"]),
        (200, &json!(true))
    );
    let again = admin.admin_post("/queue/pause").await;
    assert_eq!(again.body, paused.body, "paused since the first command");
    assert_eq!(
        admin.admin_get("/overview").await.body["paused_at"],
        paused.body["paused_at"]
    );
    for _ in 0..2 {
        let resumed = admin.admin_post("/queue/resume").await;
        assert_eq!(resumed.body, json!({"paused": false, "paused_at": null}));
    }
    let worker = app.take_worker();
    eventually("the worker is listed", || async {
        admin.admin_get("/overview").await.body["workers"][0]["id"] == worker.id.to_string()
    })
    .await;
    for (order, draining) in [("drain", true), ("drain", true), ("undrain", false)] {
        let reply = admin.admin_post(&format!("/workers/{}/{order}", worker.id)).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.body["draining"]),
            (200, &json!(draining))
        );
    }
}
