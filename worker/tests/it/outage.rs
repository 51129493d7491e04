//! Database outages during active runs: no worker counts as dead, and nothing is executed twice.

use errand_devstack::Postgres;
use errand_fake_model::{Behaviour, ChatRequest, Gate, Script};
use errand_testkit::{TestApp, User};

use crate::{
    proxy::{Loss, Proxy},
    workers::{LONGER_THAN_DEAD_AFTER, add_milk, replies, runs, steps_committed, tasks, with_short_timeouts},
};

/// Stops Postgres for longer than [`LONGER_THAN_DEAD_AFTER`] and runs `during` in the meantime.
async fn outage(postgres: &mut Postgres, during: impl FnOnce()) {
    postgres.stop().await.unwrap();
    during();
    // The duration is what is tested.
    tokio::time::sleep(LONGER_THAN_DEAD_AFTER).await;
    postgres.start_again().await.unwrap();
}

async fn post(user: &User, message: &str) {
    let posted = user.chat_async(None, message).await;
    assert_eq!(posted.status, 202, "{}", posted.body);
}

#[tokio::test]
async fn long_database_outage_rescues_and_repeats_nothing() {
    let mut postgres = Postgres::ephemeral().await.unwrap();
    let app = with_short_timeouts(TestApp::builder().workers(2).postgres_url(postgres.url()))
        .start()
        .await;
    let user = app.user("Ada").await;

    // The model answers after the outage.
    let gate = Gate::new();
    app.model
        .script(Script::new().when("after", [Behaviour::reply("After.").behind(&gate)]));
    post(&user, "after").await;
    gate.wait_arrived(1).await;
    outage(&mut postgres, || {}).await;
    gate.release();
    app.drained().await;
    assert_eq!(replies(&app).await, ["After."]);
    assert_eq!(
        runs(&app).await,
        ["succeeded 1 0 0"],
        "the model is not called again"
    );

    // The reply is stored during the outage.
    let gate = Gate::new();
    app.model
        .script(Script::new().when("during", [Behaviour::reply("During.").behind(&gate)]));
    post(&user, "during").await;
    gate.wait_arrived(1).await;
    outage(&mut postgres, || gate.release()).await;
    app.drained().await;
    assert_eq!(replies(&app).await, ["After.", "During."]);
    assert_eq!(runs(&app).await[1], "succeeded 1 0 0", "a finished reply is kept");

    // The step is committed during the outage.
    let gate = Gate::new();
    app.model.script(Script::new().when(
        "step",
        [add_milk().behind(&gate), add_milk(), Behaviour::reply("Step.")],
    ));
    post(&user, "step").await;
    gate.wait_arrived(1).await;
    outage(&mut postgres, || gate.release()).await;
    app.drained().await;
    assert_eq!(replies(&app).await, ["After.", "During.", "Step."]);
    assert_eq!(tasks(&app).await, 1);
    assert_eq!(
        runs(&app).await[2],
        "succeeded 2 0 0",
        "the release counts as no failure"
    );

    assert_eq!(
        user.chat("Hello").await.status,
        200,
        "chats work after the outages"
    );
}

#[tokio::test]
async fn queued_runs_are_answered_after_a_database_outage() {
    let mut postgres = Postgres::ephemeral().await.unwrap();
    let app = with_short_timeouts(
        TestApp::builder()
            .workers(1)
            .worker("--worker-concurrency=1")
            .postgres_url(postgres.url()),
    )
    .start()
    .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().otherwise(Behaviour::reply("Hello!").behind(&gate)));
    for _ in 0..10 {
        assert_eq!(user.chat_async(None, "hi").await.status, 202);
    }
    gate.wait_arrived(1).await;
    outage(&mut postgres, || gate.release()).await;
    app.drained().await;
    assert_eq!(replies(&app).await.len(), 10);
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM runs WHERE rescues > 0 OR failures > 0")
            .await,
        0
    );
}

/// Starts an app without workers. Returns it with a proxy that can lose a response of Postgres, and a worker's settings to use it.
async fn app_with_proxy() -> (Proxy, TestApp, [String; 2]) {
    let app = with_short_timeouts(TestApp::builder().workers(0)).start().await;
    let mut url = reqwest::Url::parse(app.database.url()).unwrap();
    let proxy = Proxy::start(format!(
        "{}:{}",
        url.host_str().unwrap(),
        url.port().unwrap_or(5432)
    ))
    .await;
    url.set_host(Some(&proxy.address.ip().to_string())).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    let settings = [
        format!("--database-url={url}"),
        "--database-statement-timeout-ms=500".to_owned(),
    ];
    (proxy, app, settings)
}

#[tokio::test]
async fn claim_with_a_lost_response_is_released() {
    for loss in [Loss::Break, Loss::Silence] {
        let (proxy, app, settings) = app_with_proxy().await;
        let user = app.user("Ada").await;
        app.model.script(Script::always(Behaviour::reply("Hello!")));
        let posted = user.chat_async(None, "hi").await;
        proxy.lose_response_to(posted.id("run_id"), loss);
        let _worker = app
            .start_worker_with(&settings.each_ref().map(String::as_str))
            .await;
        let answered = user.wait(posted.id("run_id")).await;
        assert!(proxy.has_lost_response());
        assert_eq!(answered.text("message"), "Hello!", "{loss:?}: {}", answered.body);
        assert_eq!(runs(&app).await, ["succeeded 2 0 0"], "{loss:?}");
        assert_eq!(user.chat("hi").await.status, 200, "the worker continues");
    }
}

#[tokio::test]
async fn step_with_an_unconfirmed_commit_is_not_repeated() {
    for loss in [Loss::Break, Loss::Silence] {
        let (proxy, app, settings) = app_with_proxy().await;
        let _worker = app
            .start_worker_with(&settings.each_ref().map(String::as_str))
            .await;
        let user = app.user("Ada").await;
        let gate = Gate::new();
        let script = Script::new().when("milk", [add_milk().behind(&gate)]);
        app.model.script(script.otherwise(Behaviour::reply("Done.")));
        let posted = user.chat_async(None, "Buy milk").await;
        gate.wait_arrived(1).await;
        proxy.lose_response_to("COMMIT", loss);
        gate.release();
        let answered = user.wait(posted.id("run_id")).await;
        assert!(proxy.has_lost_response());
        assert_eq!(answered.text("message"), "Done.", "{loss:?}: {}", answered.body);
        assert_eq!(answered.tools(), ["add_task"]);
        assert_eq!(tasks(&app).await, 1);
        assert_eq!(runs(&app).await, ["succeeded 2 0 0"], "{loss:?}");
    }
}

#[tokio::test]
async fn reply_with_an_unconfirmed_commit_is_stored_once_and_published() {
    let reply = "A reply that appears nowhere else.";
    for loss in [Loss::Break, Loss::Silence] {
        let (proxy, app, settings) = app_with_proxy().await;
        let _worker = app
            .start_worker_with(&settings.each_ref().map(String::as_str))
            .await;
        let user = app.user("Ada").await;
        app.model
            .script(Script::new().when("hi", [Behaviour::reply("Warm."), Behaviour::reply(reply)]));
        // Prepares the statement, so that the marker occurs only in its execution.
        assert_eq!(user.chat("hi").await.status, 200);
        proxy.lose_response_to(reply, loss);
        let answered = user.chat("hi").await;
        assert!(proxy.has_lost_response());
        assert_eq!(answered.text("message"), reply, "{loss:?}: {}", answered.body);
        assert_eq!(replies(&app).await, ["Warm.", reply]);
        assert_eq!(runs(&app).await, ["succeeded 1 0 0"; 2]);
        assert_eq!(app.model.counts().received, 2);
    }
}

/// Steps are not flushed: a crash of Postgres can lose one that its worker has seen committed, while the lease, which is
/// older, is kept. Nothing that follows from the lost step may be stored.
#[tokio::test]
async fn steps_after_one_lost_in_a_crash_are_repeated() {
    let lose_step = "DELETE FROM steps; DELETE FROM tasks; DELETE FROM task_counters";
    // A reply, another step, and a failure.
    let seconds = [
        Behaviour::reply("Done."),
        Behaviour::tool_call("list_tasks", "{}"),
        Behaviour::status(400),
    ];
    for (number, second) in seconds.into_iter().enumerate() {
        let app = with_short_timeouts(TestApp::builder()).start().await;
        let user = app.user("Ada").await;
        let gate = Gate::new();
        let is_first_call =
            |request: &ChatRequest| request.messages.last().is_some_and(|last| last.role == "user");
        app.model.script(
            Script::new()
                .then([add_milk(), second.behind(&gate)])
                .when_fn(is_first_call, [add_milk()])
                .otherwise(Behaviour::reply("Done.")),
        );
        let posted = user.chat_async(None, "Buy milk").await;
        gate.wait_arrived(1).await;
        steps_committed(&app, 1).await;
        app.database.execute(lose_step).await.unwrap();
        gate.release();
        let answered = user.wait(posted.id("run_id")).await;
        let stored = user.get(&format!("/runs/{}", posted.id("run_id"))).await;
        assert_eq!(answered.body, stored.body, "{number}");
        if number == 2 {
            assert_eq!(answered.text("status"), "failed", "{}", answered.body);
            assert_eq!(answered.tools(), [""; 0], "the lost step is not reported");
            assert_eq!(tasks(&app).await, 0);
        } else {
            assert_eq!(answered.text("message"), "Done.", "{number}: {}", answered.body);
            assert_eq!(answered.tools(), ["add_task"], "{number}");
            assert_eq!(tasks(&app).await, 1, "{number}");
            assert_eq!(runs(&app).await, ["succeeded 2 0 0"], "{number}");
        }
    }
}
