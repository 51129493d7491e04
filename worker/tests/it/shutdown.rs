//! SIGTERM: a worker claims nothing more, finishes or releases its active runs, and exits with 0.

use std::time::{Duration, Instant};

use errand_devstack::{Postgres, Redis};
use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::{TestApp, WorkerProcess, eventually};

use crate::workers::{add_milk, process, runs, tasks, with_short_timeouts};

#[tokio::test]
async fn stopping_worker_finishes_its_active_runs() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model.script(
        Script::new()
            .when("first", [add_milk(), Behaviour::reply("Done.").behind(&gate)])
            .otherwise(Behaviour::reply("Hello!")),
    );
    let mut worker = process(&app, &[]).await;
    let first = user.chat_async(None, "first").await;
    gate.wait_arrived(1).await;
    worker.terminate();
    worker.logged("SIGTERM").await;
    let behind = user.chat_async(Some(first.id("conversation_id")), "second").await;
    let elsewhere = user.chat_async(None, "third").await;
    gate.release();
    assert_eq!(worker.exit_code(Duration::from_secs(20)).await, Some(0));
    assert_eq!(user.wait(first.id("run_id")).await.text("message"), "Done.");
    assert_eq!(
        runs(&app).await,
        ["succeeded 1 0 0", "queued 0 0 0", "queued 0 0 0"]
    );
    assert_eq!(app.database.count("SELECT count(*) FROM workers").await, 0);

    let _next = app.start_worker().await;
    for posted in [behind, elsewhere] {
        assert_eq!(user.wait(posted.id("run_id")).await.text("message"), "Hello!");
    }
}

#[tokio::test]
async fn runs_are_released_after_the_grace_period() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model.script(Script::new().when(
        "milk",
        [
            add_milk(),
            Behaviour::Hang.behind(&gate),
            Behaviour::reply("Done."),
        ],
    ));
    gate.release();
    let mut worker = process(&app, &["--shutdown-grace-seconds=1"]).await;
    let posted = user.chat_async(None, "Buy milk").await;
    gate.wait_arrived(1).await;
    let start = Instant::now();
    worker.terminate();
    assert_eq!(worker.exit_code(Duration::from_secs(20)).await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(runs(&app).await, ["queued 1 0 0"]);
    assert_eq!(app.database.count("SELECT count(*) FROM workers").await, 0);

    let _next = app.start_worker().await;
    let answered = user.wait(posted.id("run_id")).await;
    assert_eq!(answered.text("message"), "Done.", "{}", answered.body);
    assert_eq!(answered.tools(), ["add_task"]);
    assert_eq!(runs(&app).await, ["succeeded 2 0 0"]);
    assert_eq!(tasks(&app).await, 1);
}

#[tokio::test]
async fn worker_without_database_and_redis_can_be_stopped() {
    let unreachable = "127.0.0.1:1";
    let arguments = [
        format!("--database-url=postgres://x@{unreachable}/x"),
        format!("--redis-url=redis://{unreachable}"),
        format!("--openai-base-url=http://{unreachable}"),
        "--admin-listen-addr=127.0.0.1:0".to_owned(),
    ];
    let mut worker = WorkerProcess::start(env!("CARGO_BIN_EXE_errand-worker"), &arguments).await;
    worker.logged("waiting for Postgres").await;
    worker.terminate();
    assert_eq!(worker.exit_code(Duration::from_secs(5)).await, Some(0));
}

#[tokio::test]
async fn worker_stops_during_an_outage_of_database_and_redis() {
    let mut postgres = Postgres::ephemeral().await.unwrap();
    let mut redis = Redis::ephemeral().await.unwrap();
    let builder = TestApp::builder()
        .workers(0)
        .postgres_url(postgres.url())
        .redis_url(redis.url());
    let app = with_short_timeouts(builder).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    let replies = ["Lost.", "Hello!"].map(|reply| Behaviour::reply(reply).behind(&gate));
    app.model.script(Script::new().when("hi", replies));
    let mut worker = process(&app, &["--shutdown-grace-seconds=1"]).await;
    let posted = user.chat_async(None, "hi").await;
    gate.wait_arrived(1).await;
    redis.pause().unwrap();
    postgres.stop().await.unwrap();
    worker.terminate();
    worker.logged("SIGTERM").await;
    // The reply cannot be stored.
    gate.release();
    assert_eq!(worker.exit_code(Duration::from_secs(15)).await, Some(0));
    redis.resume().unwrap();
    postgres.start_again().await.unwrap();
    let _next = app.start_worker().await;
    let answered = user.wait(posted.id("run_id")).await;
    assert_eq!(answered.text("message"), "Hello!", "{}", answered.body);
    assert_eq!(
        runs(&app).await,
        ["succeeded 2 0 1"],
        "rescued like the run of a dead worker"
    );
}

#[tokio::test]
async fn drained_worker_claims_nothing_until_it_is_undrained() {
    let app = with_short_timeouts(TestApp::builder().workers(0)).start().await;
    let user = app.user("Ada").await;
    let drained = app.start_worker().await;
    assert_eq!(user.chat("Hello").await.status, 200);
    app.database
        .execute("UPDATE workers SET draining = true")
        .await
        .unwrap();
    let now = app.database.texts("SELECT now()::text").await.remove(0);
    // After two more heartbeats the worker knows.
    let heartbeats =
        format!("SELECT count(*) FROM workers WHERE heartbeat_at > '{now}'::timestamptz + interval '200 ms'");
    eventually("the worker has sent two heartbeats", || async {
        app.database.count(&heartbeats).await == 1
    })
    .await;

    let by = |worker| format!("SELECT count(*) FROM runs WHERE worker_id = '{worker}'");
    let posted: Vec<_> = futures::future::join_all((0..3).map(|_| user.chat_async(None, "Hello"))).await;
    let other = app.start_worker().await;
    for posted in posted {
        assert_eq!(user.wait(posted.id("run_id")).await.text("status"), "succeeded");
    }
    assert_eq!(app.database.count(&by(drained.id)).await, 1, "only earlier runs");
    assert_eq!(app.database.count(&by(other.id)).await, 3);
    other.stop().await;

    app.database
        .execute("UPDATE workers SET draining = false")
        .await
        .unwrap();
    assert_eq!(user.chat("Hello").await.status, 200);
    assert_eq!(app.database.count(&by(drained.id)).await, 2);
}
