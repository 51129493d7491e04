//! Workers that die during a call of an MCP tool: the call takes effect at most once, unless it is safe to repeat.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{AgentsFile, McpFault, McpFixture, Reply, TestApp, eventually};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::workers::{process, runs, with_short_timeouts};

async fn start(file: &AgentsFile) -> TestApp {
    with_short_timeouts(TestApp::builder().workers(0))
        .api(file.setting())
        .worker(file.setting())
        .start()
        .await
}

/// A model that requests one call of this tool and then replies. A second request for the call would have other arguments.
fn once(tool: &str) -> Script {
    let call = |amount: i64| Behaviour::tool_call(tool, json!({"amount": amount}).to_string());
    Script::new().then([call(3), Behaviour::reply("Done."), call(4)])
}

/// `true` or the error code of the first call.
fn code(reply: &Reply) -> String {
    let result = &reply.body["tool_calls"][0]["result"];
    match result["error"].as_str() {
        Some(error) => error.split(':').next().unwrap_or_default().to_owned(),
        None => result["success"].to_string(),
    }
}

#[tokio::test]
async fn interrupted_mcp_call_is_repeated_only_if_that_is_safe() {
    for (tool, expected, effects) in [
        ("shop__pay", "OUTCOME_UNKNOWN", 1),
        ("shop__put", "true", 2),
        ("shop__look", "true", 2),
    ] {
        let shop = McpFixture::start();
        let file = AgentsFile::new(&shop.agents_file(""));
        let app = start(&file).await;
        let user = app.user("Ada").await;
        app.model.script(once(tool));
        shop.next_call(McpFault::Hang);
        let killed_worker = process(&app, &[]).await;
        let posted = user.chat_async(None, "go").await;
        shop.wait_for_effects(1).await;
        killed_worker.kill().await;
        let _other_worker = app.start_worker().await;
        let reply = user.wait(posted.id("run_id")).await;
        assert_eq!(reply.text("message"), "Done.", "{tool}: {}", reply.body);
        assert_eq!(code(&reply), expected, "{tool}: {}", reply.body);
        let done = shop.effects();
        assert_eq!(done.len(), effects, "{tool}");
        // Every attempt of a call has the same idempotency key and the recorded arguments.
        for effect in &done {
            assert_eq!(
                (&effect.key, &effect.arguments),
                (&done[0].key, &json!({"amount": 3})),
                "{tool}"
            );
        }
        assert_eq!(runs(&app).await, ["succeeded 2 0 1"], "{tool}");
        assert_eq!(app.model.requests().len(), 2, "{tool}: one model call per step");
    }
}

#[tokio::test]
async fn tool_configured_as_idempotent_is_repeated() {
    let shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file("idempotent = [\"pay\"]"));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(once("shop__pay"));
    shop.next_call(McpFault::Hang);
    let killed_worker = process(&app, &[]).await;
    let posted = user.chat_async(None, "go").await;
    shop.wait_for_effects(1).await;
    killed_worker.kill().await;
    let _other_worker = app.start_worker().await;
    let reply = user.wait(posted.id("run_id")).await;
    assert_eq!(code(&reply), "true", "{}", reply.body);
    assert_eq!(shop.effects().len(), 2);
}

#[tokio::test]
async fn mcp_call_not_marked_as_started_is_made_by_another_worker() {
    let shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file(""));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(once("shop__pay"));
    // The worker that is about to mark the call as started waits for this lock.
    let mut holder = PgConnection::connect_with(app.database.options()).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    app.database
        .execute(
            "CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END $$; \
             CREATE TRIGGER wait_for_lock BEFORE UPDATE ON asked_calls FOR EACH ROW EXECUTE FUNCTION wait_for_lock()",
        )
        .await
        .unwrap();
    let killed_worker = process(&app, &[]).await;
    let posted = user.chat_async(None, "go").await;
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the worker is about to mark the call as started", || async {
        app.database.count(blocked).await > 0
    })
    .await;
    killed_worker.kill().await;
    // Postgres continues a statement even if its client has disconnected.
    sqlx::raw_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    .execute(&mut holder)
    .await
    .unwrap();
    sqlx::raw_sql("SELECT pg_advisory_unlock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    assert_eq!(shop.effects().len(), 0);
    let _other_worker = app.start_worker().await;
    let reply = user.wait(posted.id("run_id")).await;
    assert_eq!(reply.text("message"), "Done.", "{}", reply.body);
    assert_eq!(code(&reply), "true", "{}", reply.body);
    assert_eq!(shop.effects().len(), 1);
    assert_eq!(app.model.requests().len(), 2);
}
