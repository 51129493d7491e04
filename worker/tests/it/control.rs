//! Admin commands: pause the queue, drain a worker, retry a run that killed its workers.

use errand_fake_model::{Behaviour, Gate, Script};
use errand_shared::Uuid;
use errand_testkit::{TestApp, User, eventually};

use crate::workers::{process, runs, with_short_timeouts};

/// Waits until each of `workers` workers has sent two more heartbeats. By then each has read the current state of the queue and of itself.
async fn wait_for_heartbeats(app: &TestApp, workers: i64) {
    for _ in 0..2 {
        let now = app
            .database
            .texts("SELECT clock_timestamp()::text")
            .await
            .remove(0);
        let since = format!("SELECT count(*) FROM workers WHERE heartbeat_at > '{now}'");
        eventually("every worker has sent a heartbeat", || async {
            app.database.count(&since).await == workers
        })
        .await;
    }
}

/// Posts `count` messages, each in a new conversation.
async fn post(user: &User, count: usize) -> Vec<Uuid> {
    let mut posted = Vec::new();
    for _ in 0..count {
        posted.push(user.chat_async(None, "hi").await.id("run_id"));
    }
    posted
}

fn hello() -> Script {
    Script::new().otherwise(Behaviour::reply("Hello!"))
}

#[tokio::test]
async fn paused_queue_hands_out_no_runs_until_it_is_resumed() {
    let app = with_short_timeouts(TestApp::builder().workers(2)).start().await;
    let (user, admin) = (app.user("Ada").await, app.admin().await);
    app.model.script(hello());
    let gate = Gate::new();
    app.model
        .add(Script::new().when("slow", [Behaviour::reply("At last.").behind(&gate)]));
    let held = user.chat_async(None, "slow").await.id("run_id");
    gate.wait_arrived(1).await;
    assert_eq!(admin.admin_post("/queue/pause").await.status, 200);
    wait_for_heartbeats(&app, 2).await;
    let posted = post(&user, 3).await;
    // The rescuer notifies of these runs again; still no worker may claim them.
    app.database
        .execute("UPDATE runs SET ring_at = now() WHERE status = 'queued'")
        .await
        .unwrap();
    gate.release();
    assert_eq!(
        user.wait(held).await.text("message"),
        "At last.",
        "active runs continue"
    );
    wait_for_heartbeats(&app, 2).await;
    let claimed = "SELECT count(*) FROM runs WHERE attempt > 0";
    assert_eq!(app.database.count(claimed).await, 1);
    assert_eq!(admin.admin_post("/queue/resume").await.status, 200);
    for run in posted {
        assert_eq!(user.wait(run).await.text("message"), "Hello!");
    }
}

#[tokio::test]
async fn draining_worker_claims_nothing_until_it_is_undrained() {
    let mut app = with_short_timeouts(TestApp::builder().workers(2)).start().await;
    let (user, admin) = (app.user("Ada").await, app.admin().await);
    app.model.script(hello());
    let (one, other) = (app.take_worker(), app.take_worker());
    wait_for_heartbeats(&app, 2).await;
    for (idle, busy) in [(&one, &other), (&other, &one)] {
        assert_eq!(
            admin
                .admin_post(&format!("/workers/{}/drain", idle.id))
                .await
                .status,
            200
        );
        assert_eq!(
            admin
                .admin_post(&format!("/workers/{}/undrain", busy.id))
                .await
                .status,
            200
        );
        wait_for_heartbeats(&app, 2).await;
        let before = app.database.count("SELECT count(*) FROM runs").await;
        for run in post(&user, 10).await {
            assert_eq!(user.wait(run).await.text("message"), "Hello!");
        }
        let executed = format!(
            "SELECT count(*) FROM (SELECT worker_id FROM runs ORDER BY id OFFSET {before}) r WHERE worker_id = '{}'",
            busy.id
        );
        assert_eq!(app.database.count(&executed).await, 10);
    }
}

#[tokio::test]
async fn admin_retries_a_run_that_killed_its_workers_in_order() {
    let app = with_short_timeouts(TestApp::builder().workers(0).worker("--run-max-attempts=2"))
        .start()
        .await;
    let (user, admin) = (app.user("Ada").await, app.admin().await);
    let gate = Gate::new();
    let deadly = || Behaviour::Hang.behind(&gate);
    let last_gate = Gate::new();
    let last = Behaviour::reply("Survived.").behind(&last_gate);
    app.model.script(hello());
    app.model
        .add(Script::new().when("deadly", [deadly(), deadly(), last]));
    let posted = user.chat_async(None, "deadly").await;
    let (run, conversation) = (posted.id("run_id"), posted.id("conversation_id"));
    for death in 1..=2 {
        let killed_worker = process(&app, &[]).await;
        gate.wait_arrived(death).await;
        killed_worker.kill().await;
    }
    let next_worker = app.start_worker().await;
    user.wait(run).await;
    let dead_letters = admin.admin_get("/runs?status=failed").await.body;
    let letter = &dead_letters["items"][0];
    assert_eq!(letter["run_id"], run.to_string(), "{dead_letters}");
    assert_eq!(letter["last_error"], "2 workers died while executing the run");
    assert_eq!(letter["reason"], "the worker executing the run died repeatedly");
    assert_eq!(letter["attempt"], 2);

    let retried = admin.admin_post(&format!("/runs/{run}/retry")).await;
    assert_eq!(retried.status, 202, "{}", retried.body);
    // The worker may have claimed the run before the response is built.
    assert!(
        matches!(retried.text("status"), "queued" | "running"),
        "{}",
        retried.body
    );
    last_gate.wait_arrived(1).await;
    // A later message of the conversation waits.
    let next = user.chat_async(Some(conversation), "hi").await.id("run_id");
    let dead = format!("DELETE FROM workers WHERE id <> '{}'", next_worker.id);
    app.database.execute(&dead).await.unwrap();
    wait_for_heartbeats(&app, 1).await;
    assert_eq!(runs(&app).await, ["running 3 0 0", "queued 0 0 0"]);
    let not_last = admin.admin_post(&format!("/runs/{run}/retry")).await;
    assert_eq!(not_last.status, 409, "{}", not_last.body);
    last_gate.release();
    assert_eq!(user.wait(run).await.text("message"), "Survived.");
    assert_eq!(user.wait(next).await.text("message"), "Hello!");
    let order = "SELECT content FROM messages WHERE role = 'assistant' ORDER BY seq";
    assert_eq!(app.database.texts(order).await, ["Survived.", "Hello!"]);
}
