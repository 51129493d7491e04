//! Workers that die or are suspended: other workers answer their runs, once.

use std::time::{Duration, Instant};

use errand_fake_model::{Behaviour, Gate, Script};
use errand_shared::{
    Uuid,
    storage::queue::{
        claims::{self, ClaimBounds},
        workers::{self, WorkerRow},
    },
};
use errand_testkit::{TestApp, eventually};
use serde_json::Value;

use crate::workers::{add_milk, process, replies, runs, steps_committed, tasks, with_short_timeouts};

#[tokio::test]
async fn run_of_a_killed_worker_is_answered_once() {
    let app = with_short_timeouts(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    for tool_first in [false, true] {
        let gate = Gate::new();
        let before = if tool_first {
            [add_milk(), Behaviour::reply("Lost.").behind(&gate)]
        } else {
            [add_milk().behind(&gate), add_milk()]
        };
        app.model
            .script(Script::new().when("milk", before.into_iter().chain([Behaviour::reply("Done.")])));
        let killed_worker = process(&app, &[]).await;
        let posted = user.chat_async(None, "Buy milk").await;
        gate.wait_arrived(1).await;
        if tool_first {
            // The first iteration committed two steps.
            steps_committed(&app, 2 + 1).await;
        }
        killed_worker.kill().await;
        let _other = app.start_worker().await;
        let answered = user.wait(posted.id("run_id")).await;
        assert_eq!(answered.text("message"), "Done.", "{}", answered.body);
        assert_eq!(answered.tools(), ["add_task"]);
    }
    assert_eq!(runs(&app).await, ["succeeded 2 0 1"; 2]);
    assert_eq!(replies(&app).await, ["Done."; 2]);
    assert_eq!(tasks(&app).await, 2);
}

#[tokio::test]
async fn run_of_a_dead_worker_is_rescued_within_ten_seconds_by_default() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model.script(Script::new().when(
        "hi",
        [
            Behaviour::Hang.behind(&gate),
            Behaviour::reply("Hello!").behind(&gate),
        ],
    ));
    let killed_worker = process(&app, &[]).await;
    let posted = user.chat_async(None, "hi").await;
    gate.wait_arrived(1).await;
    let _other = app.start_worker().await;
    let death = Instant::now();
    killed_worker.kill().await;
    gate.wait_arrived(2).await;
    assert!(death.elapsed() < Duration::from_secs(10), "{:?}", death.elapsed());
    gate.release();
    assert_eq!(user.wait(posted.id("run_id")).await.text("message"), "Hello!");
}

#[tokio::test]
async fn worker_suspended_past_its_lease_writes_nothing() {
    let app = with_short_timeouts(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    let late_call = Behaviour::tool_call("add_task", r#"{"title":"late"}"#);
    for late in [Behaviour::reply("From the suspended worker."), late_call] {
        let gate = Gate::new();
        let others = Behaviour::reply("From the other.");
        let script = Script::new().when("hi", [late.behind(&gate), others]);
        app.model
            .script(script.otherwise(Behaviour::reply("Still here.")));
        let mut suspended = process(&app, &[]).await;
        let posted = user.chat_async(None, "hi").await;
        gate.wait_arrived(1).await;
        suspended.freeze();
        let other = app.start_worker().await;
        let answered = user.wait(posted.id("run_id")).await;
        assert_eq!(answered.text("message"), "From the other.");
        other.stop().await;
        // The model's answer is available when the worker resumes.
        gate.release();
        app.model.wait_idle().await;
        suspended.thaw();
        eventually("the worker knows that its lease is lost", || async {
            let dropped = suspended.lines("attempt failed");
            dropped.iter().any(|line| line["failure"] == "the lease is lost")
                || !suspended
                    .lines("lease lost before the run was finished")
                    .is_empty()
        })
        .await;
        let again = user.chat_in(posted.id("conversation_id"), "again").await;
        assert_eq!(again.text("message"), "Still here.", "{}", again.body);
        suspended.terminate();
        assert_eq!(suspended.exit_code(Duration::from_secs(20)).await, Some(0));
    }
    let expected = [
        "succeeded 2 0 1",
        "succeeded 1 0 0",
        "succeeded 2 0 1",
        "succeeded 1 0 0",
    ];
    assert_eq!(runs(&app).await, expected);
    assert_eq!(
        replies(&app).await,
        ["From the other.", "Still here.", "From the other.", "Still here."]
    );
    assert_eq!(tasks(&app).await, 0);
}

#[tokio::test]
async fn run_that_kills_its_workers_fails_and_can_be_retried() {
    let app = with_short_timeouts(TestApp::builder().workers(0).worker("--run-max-attempts=2"))
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    let deadly = || Behaviour::Hang.behind(&gate);
    app.model
        .script(Script::new().when("deadly", [deadly(), deadly(), Behaviour::reply("Survived.")]));
    let posted = user.chat_async(None, "deadly").await;
    for death in 1..=2 {
        let killed_worker = process(&app, &[]).await;
        gate.wait_arrived(death).await;
        killed_worker.kill().await;
    }
    let _next_worker = app.start_worker().await;
    let failed = user.wait(posted.id("run_id")).await;
    assert_eq!(failed.text("status"), "failed", "{}", failed.body);
    let detail = failed.body["problem"]["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "Agent execution failed: the worker executing the run died repeatedly"
    );
    let fields = "SELECT concat_ws(' ', attempt, failures, last_error) FROM runs";
    assert_eq!(
        app.database.texts(fields).await,
        ["2 0 2 workers died while executing the run"]
    );
    assert_eq!(gate.arrived(), 2, "there is no third attempt");

    let retry = user
        .post(&format!("/runs/{}/retry", posted.text("run_id")), Value::Null)
        .await;
    assert_eq!(retry.status, 202);
    assert_eq!(user.wait(posted.id("run_id")).await.text("message"), "Survived.");
}

#[tokio::test]
async fn overdue_run_of_a_live_worker_is_finished() {
    let app = with_short_timeouts(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    let posted = user.chat_async(None, "hi").await;
    // A worker that sends heartbeats and executes nothing.
    let row = WorkerRow {
        id: Uuid::now_v7(),
        host: "h".to_owned(),
        version: "1".to_owned(),
        concurrency: 1,
    };
    workers::heartbeat(&app.database.pool, &row, 1).await.unwrap();
    app.database
        .execute("UPDATE workers SET heartbeat_at = now() + interval '1 hour'")
        .await
        .unwrap();
    let bounds = ClaimBounds {
        history_turns: 0,
        history_bytes: 0,
        deadline_seconds: 0.1,
    };
    let leases = claims::claim(&app.database.pool, row.id, &[posted.id("run_id")], bounds)
        .await
        .unwrap();
    assert_eq!(leases.len(), 1);
    let _worker = app.start_worker().await;
    let ended = user.wait(posted.id("run_id")).await;
    assert_eq!(ended.text("status"), "failed", "{}", ended.body);
    assert!(
        ended.body["problem"]["detail"]
            .as_str()
            .unwrap()
            .ends_with("the run took too long")
    );
    assert_eq!(runs(&app).await, ["failed 1 0 0"]);
    let next = user.chat_in(posted.id("conversation_id"), "Hello").await;
    assert_eq!(
        next.text("status"),
        "succeeded",
        "the conversation continues: {}",
        next.body
    );
}

#[tokio::test]
async fn run_fails_if_the_model_hangs_past_the_deadline() {
    let app = TestApp::builder()
        .worker("--run-deadline-seconds=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().then([add_milk(), Behaviour::Hang]));
    let start = Instant::now();
    let failed = user.chat("Buy milk").await;
    assert_eq!(failed.status, 502, "{}", failed.body);
    assert_eq!(
        failed.text("detail"),
        "Agent execution failed: the run took too long"
    );
    assert_eq!(failed.tools(), ["add_task"], "the completed call is reported");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert_eq!(tasks(&app).await, 1);
}
