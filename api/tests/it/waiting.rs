//! Waiting requests are answered, whatever happens to Redis or to the API.

use std::time::Duration;

use errand_fake_model::{Behaviour, Gate, Script};
use errand_shared::{
    domain::{
        chat::{ChatResponse, Usage},
        clock::Clock,
        events::{RunEnd, final_seq},
        run::RunStatus,
    },
    signals::run_finished,
};
use errand_testkit::TestApp;
use redis::AsyncCommands;
use reqwest::Method;

#[tokio::test]
async fn polling_finds_a_reply_that_redis_lost() {
    // The API subscribes at a Redis to which the worker does not publish.
    let app = TestApp::builder()
        .api("--redis-prefix=not-used-by-workers:")
        .api("--wait-sweep-ms=40")
        .start()
        .await;
    let user = app.user("Ada").await;
    let chat = tokio::time::timeout(Duration::from_secs(20), user.chat("Add a task to buy milk"))
        .await
        .unwrap();
    assert_eq!(chat.status, 200, "{}", chat.body);
    assert_eq!(chat.tools(), ["add_task"]);
}

#[tokio::test]
async fn a_shutdown_turns_waits_into_202_and_the_run_continues() {
    let mut app = TestApp::builder().apis(2).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("wait", [Behaviour::reply("Here.").behind(&gate)]));
    let second = user.at(app.url_of(1));
    let stop = async {
        gate.wait_arrived(1).await;
        app.stop_api(0).await;
    };
    let (pending, ()) = tokio::join!(user.chat("wait"), stop);
    assert_eq!(pending.status, 202, "{}", pending.body);
    gate.release();
    let answered = second.wait(pending.id("run_id")).await;
    assert_eq!(answered.text("message"), "Here.");
}

/// The Redis message about an end may arrive after a retry of the run, if Redis was slow or had stopped.
#[tokio::test]
async fn a_delayed_final_event_from_before_a_retry_ends_no_wait() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("wait", [Behaviour::reply("Here.").behind(&gate)]));
    let pending = user.chat_async(None, "wait").await;
    let run_id = pending.id("run_id");
    gate.wait_arrived(1).await;
    let late = RunEnd {
        user_id: user.id,
        seq: final_seq(1),
        attempt: 1,
        at: Clock::system().now(),
        response: ChatResponse {
            conversation_id: pending.id("conversation_id"),
            message: String::new(),
            tool_calls: Vec::new(),
            usage: Usage::default(),
            run_id,
            status: RunStatus::Cancelled,
            approvals: Vec::new(),
            problem: None,
        },
        timing: None,
    };
    let late = run_finished::encode(&late).unwrap();
    let publish_late_end = async {
        let mut redis = app.redis().await;
        // The delayed messages arrive while the requests wait.
        for _ in 0..20 {
            let subscribers: usize = redis.publish(app.finished_channel(), &late).await.unwrap();
            assert_eq!(subscribers, 1, "the API is subscribed");
            assert_eq!(user.get(&format!("/runs/{run_id}")).await.status, 202);
        }
        gate.release();
    };
    let (answered, ()) = tokio::join!(user.wait(run_id), publish_late_end);
    assert_eq!(answered.text("status"), "succeeded", "{}", answered.body);
    assert_eq!(answered.text("message"), "Here.");
}

#[tokio::test]
async fn deleting_the_conversation_ends_the_wait() {
    let app = TestApp::builder()
        .worker("--heartbeat-ms=50")
        .api("--wait-sweep-ms=40")
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("wait", [Behaviour::reply("Too late.").behind(&gate)]));
    let delete = async {
        gate.wait_arrived(1).await;
        let conversations = user.get("/conversations").await;
        let id = conversations.body["items"][0]["id"].as_str().unwrap();
        let deleted = user
            .request(Method::DELETE, &format!("/conversations/{id}"))
            .send()
            .await
            .unwrap();
        assert_eq!(deleted.status(), 204);
    };
    let both = async { tokio::join!(user.chat("wait"), delete) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    assert_eq!(ended.status, 409, "{}", ended.body);
    assert_eq!(ended.text("status"), "cancelled");
    assert_eq!(app.database.count("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test]
async fn a_thousand_chats_wait_on_one_worker() {
    let app = TestApp::builder()
        .api("--max-open-runs-per-user=0")
        .api("--rate-limit-chat-per-minute=0")
        // Generous, because the machine may be slow.
        .api("--database-acquire-timeout-ms=60000")
        .api("--database-request-timeout-ms=60000")
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().otherwise(Behaviour::reply("Hello!").behind(&gate)));
    let release = async {
        // All of them have called the model before the first is answered.
        tokio::time::timeout(Duration::from_mins(1), gate.wait_arrived(1000))
            .await
            .unwrap();
        gate.release();
    };
    let chats = futures::future::join_all((0..1000).map(|_| user.chat("hi")));
    let (replies, ()) = tokio::join!(chats, release);
    for reply in replies {
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.text("message"), "Hello!");
    }
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM runs WHERE status = 'succeeded'")
            .await,
        1000
    );
}
