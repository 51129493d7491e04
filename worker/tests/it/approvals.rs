//! Tool calls that need the user's approval.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{Builder, Reply, TestApp, User, eventually};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::workers::{process, runs, tasks, with_short_timeouts};

/// Deleting a task needs approval.
fn with_approval(builder: Builder) -> Builder {
    with_short_timeouts(builder).worker("--approval-required-tools=delete_task")
}

fn delete(task_id: i64) -> (String, String) {
    ("delete_task".to_owned(), json!({"task_id": task_id}).to_string())
}

fn add(title: &str) -> (String, String) {
    ("add_task".to_owned(), json!({"title": title}).to_string())
}

/// A model that requests these calls once and then replies.
fn once(calls: Vec<(String, String)>) -> Script {
    Script::new().then([Behaviour::ToolCalls(calls), Behaviour::reply("Done.")])
}

/// Waits until the run awaits approval. Returns it as its user reads it.
async fn wait_for_approval_request(app: &TestApp, user: &User, run: &Reply) -> Reply {
    let awaits_approval = format!(
        "SELECT count(*) FROM runs WHERE id = '{}' AND status = 'waiting_approval'",
        run.text("run_id")
    );
    eventually("the run awaits approval", || async {
        app.database.count(&awaits_approval).await == 1
    })
    .await;
    user.get(&format!("/runs/{}", run.text("run_id"))).await
}

/// The ids of the calls that need approval.
fn pending_calls(run: &Reply) -> Vec<String> {
    let approvals = run.body["approvals"].as_array().cloned().unwrap_or_default();
    approvals
        .iter()
        .map(|approval| approval["tool_call_id"].as_str().unwrap().to_owned())
        .collect()
}

async fn decide(user: &User, run: &Reply, tool_call_id: &str, approve: bool) -> Reply {
    let path = format!("/runs/{}/approvals/{tool_call_id}", run.text("run_id"));
    user.post(&path, json!({"approve": approve})).await
}

/// For each call, `true` or its error code.
fn codes(run: &Reply) -> Vec<String> {
    let calls = run.body["tool_calls"].as_array().unwrap();
    calls
        .iter()
        .map(|call| match call["result"]["error"].as_str() {
            Some(error) => error.split(':').next().unwrap_or_default().to_owned(),
            None => call["result"]["success"].to_string(),
        })
        .collect()
}

#[tokio::test]
async fn approved_call_is_made_with_the_arguments_that_were_shown() {
    let app = with_approval(TestApp::builder()).start().await;
    let user = app.user("Ada").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    user.post("/tasks", json!({"title": "eggs"})).await;
    // A second request for the step would have other calls.
    app.model.script(Script::new().then([
        Behaviour::ToolCalls(vec![add("bread"), delete(1)]),
        Behaviour::reply("Done."),
        Behaviour::ToolCalls(vec![delete(2)]),
    ]));
    let posted = user.chat_async(None, "Delete the milk").await;
    let run = wait_for_approval_request(&app, &user, &posted).await;
    assert_eq!(run.status, 202, "{}", run.body);
    assert_eq!(run.text("status"), "waiting_approval");
    let approval = &run.body["approvals"][0];
    assert_eq!(approval["tool_name"], "delete_task");
    assert_eq!(
        approval["arguments"],
        json!({"user_id": user.id.to_string(), "task_id": 1})
    );
    assert!(approval["expires_at"].is_string());
    assert_eq!(tasks(&app).await, 2, "no call of the step has been made");
    let fields = "SELECT concat_ws(' ', lease_token, worker_id, deadline_at, time_left > interval '4 minutes') FROM runs";
    assert_eq!(
        app.database.texts(fields).await,
        ["t"],
        "it has no worker and no deadline"
    );

    let call = pending_calls(&run).remove(0);
    let decided = decide(&user, &posted, &call, true).await;
    assert_eq!(decided.status, 202, "{}", decided.body);
    let done = user.wait(posted.id("run_id")).await;
    assert_eq!(done.text("message"), "Done.", "{}", done.body);
    assert_eq!(done.tools(), ["add_task", "delete_task"]);
    assert_eq!(codes(&done), ["true", "true"]);
    let titles = app.database.texts("SELECT title FROM tasks ORDER BY title").await;
    assert_eq!(titles, ["bread", "eggs"]);
    assert_eq!(app.model.requests().len(), 2, "the model is not called again");
    assert_eq!(runs(&app).await, ["succeeded 2 0 0"]);
    let steps = app
        .database
        .count("SELECT sum(prompt_tokens)::int8 FROM steps")
        .await;
    assert_eq!(done.body["usage"]["prompt_tokens"], steps);

    let again = decide(&user, &posted, &call, true).await;
    assert_eq!(
        (again.status.as_u16(), again.text("status")),
        (200, "succeeded"),
        "{}",
        again.body
    );
    assert_eq!(decide(&user, &posted, &call, false).await.status, 409);
}

#[tokio::test]
async fn declined_call_does_not_stop_the_other_calls_of_its_step() {
    let app = with_approval(TestApp::builder()).start().await;
    let user = app.user("Ada").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    user.post("/tasks", json!({"title": "eggs"})).await;
    app.model.script(once(vec![
        delete(1),
        ("delete_task".to_owned(), "{".to_owned()),
        delete(2),
        add("bread"),
    ]));
    let posted = user.chat_async(None, "Delete both").await;
    let run = wait_for_approval_request(&app, &user, &posted).await;
    let calls = pending_calls(&run);
    assert_eq!(calls.len(), 2, "a malformed call needs no approval: {}", run.body);
    let first = decide(&user, &posted, &calls[0], false).await;
    assert_eq!(
        (first.status.as_u16(), first.text("status")),
        (202, "waiting_approval")
    );
    assert_eq!(pending_calls(&first), [calls[1].clone()]);
    let repeated = decide(&user, &posted, &calls[0], false).await;
    assert_eq!(
        (repeated.status.as_u16(), repeated.text("status")),
        (202, "waiting_approval")
    );
    assert_eq!(decide(&user, &posted, &calls[0], true).await.status, 409);
    assert_eq!(decide(&user, &posted, &calls[1], true).await.status, 202);
    let done = user.wait(posted.id("run_id")).await;
    assert_eq!(done.text("message"), "Done.", "{}", done.body);
    assert_eq!(codes(&done), ["DECLINED", "VALIDATION_ERROR", "true", "true"]);
    let titles = app.database.texts("SELECT title FROM tasks ORDER BY title").await;
    assert_eq!(titles, ["bread", "milk"]);
    let request = app.model.requests().pop().unwrap().json().to_string();
    assert!(
        request.contains("The user declined this call; nothing was done."),
        "{request}"
    );
}

#[tokio::test]
async fn only_the_runs_user_can_decide_about_pending_calls() {
    let app = with_approval(TestApp::builder()).start().await;
    let user = app.user("Ada").await;
    let eve = app.user("Eve").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    app.model.script(once(vec![add("eggs"), delete(1)]));
    let posted = user.chat_async(None, "go").await;
    let run = wait_for_approval_request(&app, &user, &posted).await;
    let call = pending_calls(&run).remove(0);
    assert_eq!(decide(&eve, &posted, &call, true).await.status, 404);
    assert_eq!(decide(&user, &posted, "nothing", true).await.status, 404);
    assert_eq!(decide(&user, &posted, "a%00b", true).await.status, 404);
    let other = app
        .database
        .texts("SELECT tool_call_id FROM asked_calls WHERE tool_name = 'add_task'")
        .await;
    assert_eq!(decide(&user, &posted, &other[0], true).await.status, 404);
    let path = format!("/runs/{}/approvals/{call}", posted.text("run_id"));
    assert_eq!(user.post(&path, json!({"approve": "yes"})).await.status, 422);
    assert_eq!(user.post(&path, json!({})).await.status, 422);
    assert_eq!(
        user.post(&format!("/runs/x/approvals/{call}"), json!({"approve": true}))
            .await
            .status,
        422
    );
    assert_eq!(tasks(&app).await, 1);
    assert_eq!(decide(&user, &posted, &call, false).await.status, 202);
    user.wait(posted.id("run_id")).await;
}

/// Kills a worker that waits for the lock taken by `lock_statement` after an approval.
async fn kill_worker_blocked_by(app: &TestApp, lock_statement: &str) {
    let user = app.user("Ada").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    app.model.script(once(vec![delete(1), add("eggs")]));
    let first_worker = process(app, &[]).await;
    let posted = user.chat_async(None, "Delete the milk").await;
    let run = wait_for_approval_request(app, &user, &posted).await;
    let call = pending_calls(&run).remove(0);
    // The worker that requested the approval is no longer needed.
    first_worker.kill().await;

    let mut holder = PgConnection::connect_with(app.database.options()).await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(lock_statement.to_owned()))
        .execute(&mut *lock)
        .await
        .unwrap();
    assert_eq!(decide(&user, &posted, &call, true).await.status, 202);
    let killed_worker = process(app, &[]).await;
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the worker waits for the lock", || async {
        app.database.count(blocked).await > 0
    })
    .await;
    killed_worker.kill().await;
    lock.rollback().await.unwrap();
    let _other_worker = app.start_worker().await;
    let done = user.wait(posted.id("run_id")).await;
    assert_eq!(done.text("message"), "Done.", "{}", done.body);
    assert_eq!(codes(&done), ["true", "true"]);
    assert_eq!(app.database.texts("SELECT title FROM tasks").await, ["eggs"]);
    assert_eq!(runs(app).await, ["succeeded 3 0 1"]);
    assert_eq!(app.model.requests().len(), 2, "the model is not called again");
}

#[tokio::test]
async fn worker_killed_between_approval_and_effect_leaves_one_effect() {
    let app = with_approval(TestApp::builder().workers(0)).start().await;
    kill_worker_blocked_by(&app, "SELECT FROM task_counters FOR UPDATE").await;
}

#[tokio::test]
async fn worker_killed_between_effect_and_record_leaves_one_effect() {
    let app = with_approval(TestApp::builder().workers(0)).start().await;
    app.database
        .execute(
            "CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$; \
             CREATE TRIGGER wait_for_lock BEFORE INSERT ON tool_calls FOR EACH ROW EXECUTE FUNCTION wait_for_lock()",
        )
        .await
        .unwrap();
    kill_worker_blocked_by(&app, "SELECT pg_advisory_xact_lock(7)").await;
}

#[tokio::test]
async fn expired_approval_counts_as_declined() {
    let app = with_approval(TestApp::builder())
        .worker("--approval-timeout-seconds=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    app.model.script(once(vec![delete(1)]));
    let posted = user.chat_async(None, "Delete the milk").await;
    let run = wait_for_approval_request(&app, &user, &posted).await;
    let call = pending_calls(&run).remove(0);
    let done = user.wait(posted.id("run_id")).await;
    assert_eq!(done.text("message"), "Done.", "{}", done.body);
    assert_eq!(codes(&done), ["APPROVAL_EXPIRED"]);
    assert_eq!(tasks(&app).await, 1);
    assert_eq!(decide(&user, &posted, &call, true).await.status, 409);
    assert_eq!(runs(&app).await, ["succeeded 2 0 0"]);
}

#[tokio::test]
async fn run_awaiting_approval_can_be_cancelled_and_retried() {
    let mut app = with_approval(TestApp::builder()).start().await;
    let other = app.add_api().await;
    let user = app.user("Ada").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    app.model
        .script(Script::new().then([Behaviour::ToolCalls(vec![delete(1)]), Behaviour::reply("Next.")]));
    let posted = user.chat_async(None, "Delete the milk").await;
    let run = wait_for_approval_request(&app, &user, &posted).await;
    let call = pending_calls(&run).remove(0);
    let there = user.at(app.url_of(other));
    let cancelled = there
        .post(&format!("/runs/{}/cancel", posted.text("run_id")), Value::Null)
        .await;
    assert_eq!(cancelled.status, 202, "{}", cancelled.body);
    let ended = user.wait(posted.id("run_id")).await;
    assert_eq!(ended.text("status"), "cancelled", "{}", ended.body);
    assert_eq!(
        codes(&ended),
        ["NOT_DONE"],
        "the journal has the outcome of the call"
    );
    assert_eq!(decide(&user, &posted, &call, true).await.status, 409);
    assert_eq!(tasks(&app).await, 1);
    // The history is valid for a provider.
    let next = user.chat_in(posted.id("conversation_id"), "Continue").await;
    assert_eq!(next.text("message"), "Next.", "{}", next.body);

    app.model.script(Script::new().then([
        Behaviour::ToolCalls(vec![delete(1)]),
        Behaviour::ToolCalls(vec![delete(1)]),
        Behaviour::reply("Gone."),
    ]));
    let posted = user.chat_async(None, "Delete it").await;
    wait_for_approval_request(&app, &user, &posted).await;
    user.post(&format!("/runs/{}/cancel", posted.text("run_id")), Value::Null)
        .await;
    assert_eq!(user.wait(posted.id("run_id")).await.text("status"), "cancelled");
    let retry = user
        .post(&format!("/runs/{}/retry", posted.text("run_id")), Value::Null)
        .await;
    assert_eq!(retry.status, 202, "{}", retry.body);
    let run = wait_for_approval_request(&app, &user, &posted).await;
    let second = pending_calls(&run).remove(0);
    assert_ne!(second, call, "the retry requests a new approval");
    decide(&user, &posted, &second, true).await;
    let done = user.wait(posted.id("run_id")).await;
    assert_eq!(done.text("message"), "Gone.", "{}", done.body);
    assert_eq!(codes(&done), ["NOT_DONE", "true"]);
    assert_eq!(tasks(&app).await, 0);
}

#[tokio::test]
async fn approval_blocks_only_its_own_conversation() {
    let app = with_approval(TestApp::builder()).start().await;
    let user = app.user("Ada").await;
    user.post("/tasks", json!({"title": "milk"})).await;
    app.model.script(
        Script::new()
            .when(
                "milk",
                [Behaviour::ToolCalls(vec![delete(1)]), Behaviour::reply("Done.")],
            )
            .otherwise(Behaviour::reply("Hello.")),
    );
    let posted = user.chat_async(None, "Delete the milk").await;
    let run = wait_for_approval_request(&app, &user, &posted).await;
    let next = user.chat_async(Some(posted.id("conversation_id")), "hi").await;
    let elsewhere = user.chat("hi").await;
    assert_eq!(elsewhere.text("message"), "Hello.", "{}", elsewhere.body);
    assert_eq!(
        runs(&app).await,
        ["waiting_approval 1 0 0", "queued 0 0 0", "succeeded 1 0 0"]
    );
    decide(&user, &posted, &pending_calls(&run)[0], true).await;
    assert_eq!(user.wait(next.id("run_id")).await.text("message"), "Hello.");
    assert_eq!(user.wait(posted.id("run_id")).await.text("message"), "Done.");
}
