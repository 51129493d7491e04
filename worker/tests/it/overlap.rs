//! The model is called while the previous step commits: its answer has no effect before the commit.

use std::time::Duration;

use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::{Events, TestApp, User, kind_of, kinds_of, text_of};
use serde_json::Value;
use sqlx::{
    Executor, Postgres, Transaction,
    types::chrono::{DateTime, Utc},
};

use crate::workers::{add_milk, replies, tasks};

/// The event stream of a run whose tool has run and whose step waits for the returned lock. The model has already returned its second
/// answer; later requests get "Again.".
async fn between_call_and_commit(
    app: &TestApp,
    user: &User,
    second: Behaviour,
) -> (Events, Transaction<'static, Postgres>) {
    let gate = Gate::new();
    app.model.script(
        Script::new()
            .when("milk", [add_milk().behind(&gate), second])
            .otherwise(Behaviour::reply("Again.")),
    );
    let events = user.chat_events(None, "Buy milk").await;
    gate.wait_arrived(1).await;
    let mut lock = app.database.pool.begin().await.unwrap();
    lock.execute("SELECT FROM runs FOR UPDATE").await.unwrap();
    gate.release();
    tokio::time::timeout(Duration::from_secs(3), async {
        app.model.wait_received(2).await;
        app.model.wait_idle().await;
    })
    .await
    .expect("the model is called before the step is committed");
    assert_eq!(app.database.count("SELECT count(*) FROM steps").await, 0);
    (events, lock)
}

#[tokio::test]
async fn early_answer_is_not_published_before_the_commit() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let (stream, lock) = between_call_and_commit(&app, &user, Behaviour::reply("Early.")).await;
    let now = app.database.texts("SELECT to_json(clock_timestamp()) #>> '{}'");
    let released: DateTime<Utc> = now.await[0].parse().unwrap();
    lock.rollback().await.unwrap();
    let events = stream.rest().await;
    let kinds = kinds_of(&events);
    let position = |kind: &str| kinds.iter().position(|other| *other == kind).unwrap();
    assert!(position("tool.finished") < position("message.delta"), "{kinds:?}");
    for event in &events[position("tool.finished")..] {
        assert!(at(event) >= released, "{event} at {released}");
    }
    assert_eq!(kind_of(events.last().unwrap()), "run.succeeded");
    assert_eq!(text_of(&events), "Early.");
    assert_eq!(tasks(&app).await, 1);
    assert_eq!(replies(&app).await, ["Early."]);
}

#[tokio::test]
async fn early_answer_is_discarded_if_the_commit_fails() {
    let app = TestApp::builder().worker("--heartbeat-ms=100").start().await;
    let user = app.user("Ada").await;
    let (stream, mut lock) = between_call_and_commit(&app, &user, Behaviour::reply("Early.")).await;
    lock.execute("UPDATE runs SET lease_token = gen_random_uuid()")
        .await
        .unwrap();
    lock.commit().await.unwrap();
    let events = stream.rest().await;
    let kinds = kinds_of(&events);
    assert!(!kinds.contains(&"tool.finished"), "{kinds:?}");
    assert_eq!(text_of(&events), "Again.");
    assert_eq!(tasks(&app).await, 0);
    assert_eq!(replies(&app).await, ["Again."]);
}

/// Each new subscriber makes the worker publish what it has not published yet.
#[tokio::test]
async fn earlier_text_is_withdrawn_only_after_the_commit() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let (first, second) = (Gate::new(), Gate::new());
    let text_and_call = Behaviour::ReplyWithToolCalls {
        content: "Let me see.".to_owned(),
        calls: vec![("add_task".to_owned(), r#"{"title":"milk"}"#.to_owned())],
    };
    app.model.script(Script::new().when(
        "milk",
        [
            text_and_call.behind(&first),
            Behaviour::reply("Done.").behind(&second),
        ],
    ));
    let mut stream = user.chat_events(None, "Buy milk").await;
    first.wait_arrived(1).await;
    let mut lock = app.database.pool.begin().await.unwrap();
    lock.execute("SELECT FROM runs FOR UPDATE").await.unwrap();
    first.release();
    second.wait_arrived(1).await;
    let mut events = stream.until("tool.started").await;
    let run_id = events[0]["run_id"].as_str().unwrap().parse().unwrap();
    for _ in 0..3 {
        user.events(run_id, 0).await.until("tool.started").await;
    }
    lock.rollback().await.unwrap();
    events.extend(stream.until("tool.finished").await);
    second.release();
    events.extend(stream.rest().await);
    let kinds = kinds_of(&events);
    let position = |kind: &str| kinds.iter().position(|other| *other == kind).unwrap();
    assert!(position("tool.finished") < position("message.reset"), "{kinds:?}");
    assert_eq!(text_of(&events), "Done.");
}

/// The results of a step are published with its commit, whatever the next model call waits for.
#[tokio::test]
async fn results_are_published_while_the_next_call_waits_for_the_rate_limit() {
    // One request immediately, then one every six seconds.
    let app = TestApp::builder()
        .worker("--model-requests-per-minute=10")
        .start()
        .await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("milk", [add_milk(), Behaviour::reply("Done.")]));
    let mut events = user.chat_events(None, "Buy milk").await;
    events.until("tool.finished").await;
    assert_eq!(app.model.counts().received, 1);
    assert_eq!(text_of(&events.rest().await), "Done.");
}

#[tokio::test]
async fn results_are_published_while_the_model_call_waits_for_its_retry() {
    let app = TestApp::builder()
        .worker("--model-retry-base-ms=5000")
        .worker("--model-retry-max-ms=5000")
        .start()
        .await;
    let user = app.user("Ada").await;
    let (mut events, lock) = between_call_and_commit(&app, &user, Behaviour::status(500)).await;
    lock.rollback().await.unwrap();
    events.until("tool.finished").await;
    assert_eq!(app.model.counts().received, 2);
    assert_eq!(text_of(&events.rest().await), "Again.");
}

/// The time of an event.
fn at(event: &Value) -> DateTime<Utc> {
    event["at"].as_str().unwrap().parse().unwrap()
}
