//! Subscribers who connect late, disconnect and reconnect: during a run, after it, and after Redis has lost its log.

use std::time::Duration;

use errand_devstack::Redis;
use errand_fake_model::{Behaviour, Gate, Options, Script};
use errand_shared::Uuid;
use errand_testkit::{Events, TestApp, User, eventually, kind_of, kinds_of, seq_of, text_of};
use reqwest::Method;
use serde_json::{Value, json};

const ANSWER: &str =
    "One by one the words of this answer are sent, and every subscriber receives all of them in order";

fn add_milk() -> Behaviour {
    Behaviour::tool_call("add_task", r#"{"title":"milk"}"#)
}

/// A model that pauses after each word.
fn slowly() -> Options {
    Options {
        token_delay: Duration::from_millis(15),
        ..Options::default()
    }
}

fn run_of(event: &Value) -> Uuid {
    event["run_id"].as_str().unwrap().parse().unwrap()
}

async fn delete_log(app: &TestApp, run_id: Uuid) {
    let key = app.ready_key().replace("ready", &format!("run:{run_id}"));
    let deleted: i64 = redis::cmd("DEL")
        .arg(key)
        .query_async(&mut app.redis().await)
        .await
        .unwrap();
    assert_eq!(deleted, 1, "the log existed");
}

async fn log_of(app: &TestApp, run_id: Uuid) -> i64 {
    let key = app.ready_key().replace("ready", &format!("run:{run_id}"));
    redis::cmd("XLEN")
        .arg(key)
        .query_async(&mut app.redis().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_subscriber_who_joins_late_ends_with_the_same_text() {
    let app = TestApp::builder().apis(2).model(slowly()).start().await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("go", [Behaviour::reply(ANSWER)]));
    let mut first = user.chat_events(None, "go").await;
    let mut received = first.until("message.delta").await;
    let run_id = run_of(&received[0]);
    let mut late: Vec<Events> = Vec::new();
    let mut back: Vec<(Vec<Value>, Events)> = Vec::new();
    // At every event, one subscriber starts from the beginning and another one resumes at another API.
    while let Some(event) = first.next().await {
        received.push(event);
        late.push(user.events(run_id, 0).await);
        let last = seq_of(received.last().unwrap());
        back.push((
            received.clone(),
            user.at(app.url_of(1)).events(run_id, last).await,
        ));
    }
    assert!(late.len() > 5, "{received:#?}");
    assert_eq!(text_of(&received), ANSWER);
    for joined in late {
        assert_eq!(joined.rest().await[1..], received[1..]);
    }
    for (mut seen, resumed) in back {
        seen.extend(resumed.rest().await);
        assert_eq!(seen, received);
    }
}

#[tokio::test]
async fn a_stream_continues_at_another_api_after_a_shutdown() {
    let mut app = TestApp::builder().apis(2).model(slowly()).start().await;
    let user = app.user("Ada").await;
    let elsewhere = user.at(app.url_of(1));
    app.model
        .script(Script::new().when("go", [Behaviour::reply(ANSWER)]));
    let mut stream = user.chat_events(None, "go").await;
    let mut received = stream.until("message.delta").await;
    let (rest, ()) = tokio::join!(stream.rest(), app.stop_api(0));
    received.extend(rest);
    assert!(
        !kind_of(received.last().unwrap()).starts_with("run.succ"),
        "{received:#?}"
    );
    let last = seq_of(received.last().unwrap());
    received.extend(elsewhere.events(run_of(&received[0]), last).await.rest().await);
    let stored = elsewhere.wait(run_of(&received[0])).await;
    assert_eq!(text_of(&received), stored.text("message"));
    assert_eq!(received.last().unwrap()["data"]["response"], stored.body);
}

#[tokio::test]
async fn deltas_are_published_only_with_subscribers_who_get_all_of_them() {
    let app = TestApp::builder().model(slowly()).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    let reply = Behaviour::reply(ANSWER).after(Duration::from_millis(100));
    app.model.script(
        Script::new()
            .when("alone", [reply])
            .when("joined", [Behaviour::reply(ANSWER).behind(&gate)]),
    );
    let alone = user.chat("alone").await;
    assert_eq!(log_of(&app, alone.id("run_id")).await, 2, "its start and its end");
    let received = user.events(alone.id("run_id"), 0).await.rest().await;
    assert_eq!(
        kinds_of(&received),
        ["run.queued", "run.started", "message.reset", "run.succeeded"]
    );
    assert_eq!(text_of(&received), ANSWER);

    let posted = user.chat_async(None, "joined").await;
    gate.wait_arrived(1).await;
    // By now the worker knows that there are no subscribers.
    eventually("the start is logged", || async {
        log_of(&app, posted.id("run_id")).await == 1
    })
    .await;
    gate.release();
    let received = user.events(posted.id("run_id"), 0).await.rest().await;
    assert_eq!(
        kinds_of(&received),
        ["run.queued", "run.started", "message.delta", "run.succeeded"]
    );
    assert_eq!(text_of(&received), ANSWER);
}

#[tokio::test]
async fn a_run_with_a_lost_log_is_streamed_from_postgres() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("milk", [add_milk(), Behaviour::reply("Milk is on the list.")]));
    let received = user.chat_events(None, "milk").await.rest().await;
    let run_id = run_of(&received[0]);
    delete_log(&app, run_id).await;
    let all = user.events(run_id, 0).await.rest().await;
    let expected = [
        "run.queued",
        "tool.started",
        "tool.finished",
        "message.reset",
        "run.succeeded",
    ];
    assert_eq!(kinds_of(&all), expected);
    assert_eq!(text_of(&all), "Milk is on the list.");
    let data = |events: &[Value], kind: &str| {
        let event = events.iter().find(|event| kind_of(event) == kind).unwrap();
        event["data"].clone()
    };
    for kind in ["tool.started", "tool.finished", "run.succeeded"] {
        assert_eq!(data(&all, kind), data(&received, kind), "{kind}");
    }
    // Wherever a subscriber resumes, it gets the stored text, ascending numbers and a final event.
    for seen in 1..received.len() {
        let mut events = received[..seen].to_vec();
        events.extend(
            user.events(run_id, seq_of(&received[seen - 1]))
                .await
                .rest()
                .await,
        );
        assert_eq!(
            text_of(&events),
            "Milk is on the list.",
            "after {seen}: {events:#?}"
        );
        assert_eq!(events.last(), received.last());
    }
    let last = user.events(run_id, seq_of(received.last().unwrap())).await;
    assert_eq!(last.status, 204);
}

#[tokio::test]
async fn emptying_redis_during_a_run_loses_no_text() {
    let redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder()
        .redis_url(redis.url())
        .model(slowly())
        .start()
        .await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("go", [add_milk(), Behaviour::reply(ANSWER)]));
    let mut stays = user.chat_events(None, "go").await;
    let mut received = stays.until("message.delta").await;
    received.push(stays.next().await.unwrap());
    let run_id = run_of(&received[0]);
    let comes_back = received.clone();
    let emptied: String = redis::cmd("FLUSHALL")
        .query_async(&mut app.redis().await)
        .await
        .unwrap();
    assert_eq!(emptied, "OK");
    let late = user.events(run_id, 0).await;
    let back = user.events(run_id, seq_of(received.last().unwrap())).await;
    received.extend(stays.rest().await);
    assert_eq!(text_of(&received), ANSWER);
    let late = late.rest().await;
    assert_eq!(text_of(&late), ANSWER, "{late:#?}");
    let tools = late
        .iter()
        .filter(|event| kind_of(event) == "tool.finished")
        .count();
    assert_eq!(tools, 1, "{late:#?}");
    let mut comes_back = comes_back;
    comes_back.extend(back.rest().await);
    assert_eq!(text_of(&comes_back), ANSWER, "{comes_back:#?}");
    let resets = received
        .iter()
        .filter(|event| kind_of(event) == "message.reset")
        .count();
    assert!(resets > 0, "the text so far is sent again: {received:#?}");
}

#[tokio::test]
async fn a_subscriber_gets_the_final_event_without_redis() {
    // The API subscribes at a Redis to which the worker does not publish.
    let app = TestApp::builder()
        .api("--redis-prefix=not-used-by-workers:")
        .api("--wait-sweep-ms=40")
        .start()
        .await;
    let user = app.user("Ada").await;
    let received = user
        .chat_events(None, "Add a task to buy milk")
        .await
        .rest()
        .await;
    assert_eq!(
        kinds_of(&received),
        [
            "run.queued",
            "tool.started",
            "tool.finished",
            "message.reset",
            "run.succeeded"
        ]
    );
    let response = &received[4]["data"]["response"];
    assert_eq!(response["tool_calls"][0]["tool_name"], "add_task");
    assert_eq!(text_of(&received), response["message"]);
}

#[tokio::test]
async fn a_retried_run_continues_its_events() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let refused = Behaviour::Finish {
        reason: errand_fake_model::FinishReason::ContentFilter,
        content: "Half an answer".to_owned(),
    };
    app.model
        .script(Script::new().when("go", [refused, Behaviour::reply("A whole answer.")]));
    let mut received = user.chat_events(None, "go").await.rest().await;
    assert_eq!(kind_of(received.last().unwrap()), "run.failed");
    let (run_id, end) = (run_of(&received[0]), seq_of(received.last().unwrap()));
    let retry = user.post(&format!("/runs/{run_id}/retry"), Value::Null).await;
    assert_eq!(retry.status, 202);
    let again = user.events(run_id, end).await.rest().await;
    // The events for the text depend on whether the run has finished by now; the resulting text does not.
    let kinds = kinds_of(&again);
    assert!(
        kinds.starts_with(&["run.queued", "run.started", "message.reset"]),
        "{kinds:?}"
    );
    let (end, text) = kinds.split_last().unwrap();
    assert_eq!(*end, "run.succeeded");
    assert!(
        text[3..].iter().all(|kind| kind.starts_with("message.")),
        "{kinds:?}"
    );
    assert!(again.is_sorted_by_key(seq_of), "{again:#?}");
    received.extend(again);
    assert_eq!(text_of(&received), "A whole answer.");
    let attempts: Vec<_> = received
        .iter()
        .map(|event| event["attempt"].as_i64().unwrap())
        .collect();
    assert!(
        attempts.is_sorted() && attempts.last() == Some(&2),
        "{attempts:?}"
    );
    // From the beginning, the earlier end is not sent: a final event is always the last.
    let all = user.events(run_id, 0).await.rest().await;
    assert_eq!(
        all.iter()
            .filter(|event| kind_of(event).starts_with("run.f"))
            .count(),
        0
    );
    assert_eq!(text_of(&all), "A whole answer.");
}

#[tokio::test]
async fn a_deleted_conversation_ends_its_streams() {
    let app = TestApp::builder().apis(2).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("milk", [add_milk(), Behaviour::reply("Too late.").behind(&gate)]));
    let mut stream = user.chat_events(None, "milk").await;
    let received = stream.until("tool.finished").await;
    gate.wait_arrived(1).await;
    let path = format!(
        "/conversations/{}",
        received[0]["conversation_id"].as_str().unwrap()
    );
    let deleted = user
        .at(app.url_of(1))
        .request(Method::DELETE, &path)
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), 204);
    let rest = stream.rest().await;
    assert_eq!(kinds_of(&rest), ["run.cancelled"]);
    assert_eq!(rest[0]["data"]["done"][0]["tool_name"], "add_task");
    let start = std::time::Instant::now();
    app.model.wait_idle().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "the model call is not aborted: {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_cancel_at_another_instance_ends_a_hanging_model_call_within_a_second() {
    let app = TestApp::builder()
        .apis(2)
        .worker("--heartbeat-ms=60000")
        .worker("--worker-dead-after-ms=200000")
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("milk", [add_milk(), Behaviour::Hang.behind(&gate)]));
    let mut stream = user.chat_events(None, "milk").await;
    let received = stream.until("tool.finished").await;
    gate.wait_arrived(1).await;
    gate.release();
    let cancel = format!("/runs/{}/cancel", received[0]["run_id"].as_str().unwrap());
    let start = std::time::Instant::now();
    let elsewhere = user.at(app.url_of(1));
    assert_eq!(elsewhere.post(&cancel, Value::Null).await.status, 202);
    let rest = stream.rest().await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(kinds_of(&rest), ["run.cancelled"]);
    assert_eq!(rest[0]["data"]["done"][0]["tool_name"], "add_task");
    assert!(rest[0]["data"]["usage"]["total_tokens"].as_i64() > Some(0));
    assert_eq!(elsewhere.post(&cancel, Value::Null).await.status, 200);
}

#[tokio::test]
async fn comments_keep_an_idle_stream_open() {
    let app = TestApp::builder().api("--sse-keepalive-seconds=1").start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("go", [Behaviour::reply("At last.").behind(&gate)]));
    let mut stream = user.chat_events(None, "go").await;
    stream.until("run.started").await;
    stream.comment().await;
    gate.release();
    assert_eq!(text_of(&stream.until("run.succeeded").await), "At last.");
}

#[tokio::test]
async fn only_the_owner_streams_a_run_from_a_valid_number() {
    let app = TestApp::start().await;
    let (user, other) = (app.user("Ada").await, app.user("Bob").await);
    let done = user.chat("hello").await;
    let path = format!("/runs/{}/events", done.text("run_id"));
    assert_eq!(other.get(&path).await.status, 404);
    assert_eq!(
        user.get(&format!("/runs/{}/events", Uuid::now_v7())).await.status,
        404
    );
    for bad in ["x", "-1", "1.5", "99999999999999999999"] {
        let reply = user.get(&format!("{path}?after_seq={bad}")).await;
        assert_eq!(reply.status, 422, "{bad}: {}", reply.body);
        let header = user.request(Method::GET, &path).header("last-event-id", bad);
        assert_eq!(errand_testkit::Reply::read(header).await.status, 422, "{bad}");
    }
    // A number that was never used is treated as 0.
    let beyond = user.events(done.id("run_id"), 1 << 52).await.rest().await;
    assert_eq!(text_of(&beyond), done.text("message"));
    let refused = user.chat_events(Some(Uuid::now_v7()), "hello").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.headers["content-type"]),
        (404, &"application/problem+json".parse().unwrap())
    );
}

async fn rejecting(user: &User, conversation_id: &Value, key: Option<&str>) -> errand_testkit::Reply {
    let body = json!({"message": "now", "conversation_id": conversation_id, "if_running": "reject"});
    let mut request = user.request(Method::POST, "/chat").json(&body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    errand_testkit::Reply::read(request).await
}

#[tokio::test]
async fn if_running_reject_is_409_while_a_run_is_open() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model.script(
        Script::new()
            .when("first", [Behaviour::reply("First.").behind(&gate)])
            .otherwise(Behaviour::reply("Now.")),
    );
    let posted = user.chat_async(None, "first").await;
    gate.wait_arrived(1).await;
    let conversation = &posted.body["conversation_id"];
    for key in [None, Some("k")] {
        let refused = rejecting(&user, conversation, key).await;
        assert_eq!(refused.status, 409, "{}", refused.body);
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        assert_eq!(refused.body["active_run_id"], posted.body["run_id"]);
    }
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 1);
    let shown = user
        .get(&format!("/conversations/{}", posted.text("conversation_id")))
        .await;
    assert_eq!(shown.body["active_run_id"], posted.body["run_id"]);
    gate.release();
    user.wait(posted.id("run_id")).await;
    let taken = rejecting(&user, conversation, Some("k")).await;
    assert_eq!((taken.status.as_u16(), taken.text("message")), (200, "Now."));
    let again = rejecting(&user, conversation, Some("k")).await;
    assert_eq!(
        again.body["run_id"], taken.body["run_id"],
        "a known key is answered before the conflict is checked"
    );
    let waiting = json!({"message": "now", "conversation_id": conversation});
    let request = user.request(Method::POST, "/chat").header("idempotency-key", "k");
    let other = errand_testkit::Reply::read(request.json(&waiting)).await;
    assert_eq!(other.status, 422, "it is another message: {}", other.body);
}

#[tokio::test]
async fn one_of_concurrent_rejecting_messages_is_accepted() {
    let app = TestApp::builder().apis(2).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    let first = user.chat("hello").await;
    app.model
        .script(Script::new().otherwise(Behaviour::reply("Now.").behind(&gate)));
    let conversation = &first.body["conversation_id"];
    let elsewhere = user.at(app.url_of(1));
    for _ in 0..5 {
        let all = futures::future::join_all((0..8).map(|number| {
            let user = if number % 2 == 0 { &user } else { &elsewhere };
            async move {
                let body = json!({"message": "now", "conversation_id": conversation, "if_running": "reject"});
                let request = user
                    .request(Method::POST, "/chat")
                    .header("prefer", "respond-async");
                errand_testkit::Reply::read(request.json(&body)).await
            }
        }))
        .await;
        let taken: Vec<_> = all.iter().filter(|reply| reply.status == 202).collect();
        assert_eq!(taken.len(), 1, "{all:#?}");
        assert!(
            all.iter()
                .all(|reply| [202, 409].contains(&reply.status.as_u16())),
            "{all:#?}"
        );
        gate.release_one();
        user.wait(taken[0].id("run_id")).await;
    }
}
