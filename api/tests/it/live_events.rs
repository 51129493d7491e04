//! The events of a run as server-sent events: no event is missing, and none is repeated.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{TestApp, kind_of, kinds_of, seq_of, text_of};
use serde_json::Value;

fn add_milk() -> Behaviour {
    Behaviour::tool_call("add_task", r#"{"title":"milk"}"#)
}

fn id_of(event: &Value, member: &str) -> errand_shared::Uuid {
    event[member].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_chat_streams_events_from_queued_to_final() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let both = Behaviour::ReplyWithToolCalls {
        content: "Let me see.".to_owned(),
        calls: vec![("add_task".to_owned(), r#"{"title":"milk"}"#.to_owned())],
    };
    app.model.script(
        Script::new()
            .when("hi", [Behaviour::reply("Hello there, Ada!")])
            .when("milk", [add_milk(), Behaviour::reply("Milk is on the list.")])
            .when("both", [both, Behaviour::reply("It is on the list.")])
            .when("nul", [Behaviour::reply("a\0b \0c")])
            .when(
                "cut",
                [Behaviour::Finish {
                    reason: errand_fake_model::FinishReason::Length,
                    content: "Half".to_owned(),
                }],
            )
            .when(
                "fail",
                [Behaviour::Finish {
                    reason: errand_fake_model::FinishReason::ContentFilter,
                    content: "Half".to_owned(),
                }],
            ),
    );
    let plain = ["run.queued", "run.started", "message.delta", "run.succeeded"];
    let tools = [
        "run.queued",
        "run.started",
        "tool.started",
        "tool.finished",
        "message.delta",
        "run.succeeded",
    ];
    let spoken = [
        "run.queued",
        "run.started",
        "message.delta",
        "tool.started",
        "tool.finished",
        "message.reset",
        "run.succeeded",
    ];
    let failed = ["run.queued", "run.started", "message.delta", "run.failed"];
    let cases: [(&str, &[&str]); 6] = [
        ("hi", &plain),
        ("milk", &tools),
        ("both", &spoken),
        ("nul", &plain),
        ("cut", &plain),
        ("fail", &failed),
    ];
    for (message, expected) in cases {
        let stream = user.chat_events(None, message).await;
        assert_eq!(stream.status, 200);
        assert_eq!(stream.headers["content-type"], "text/event-stream");
        assert_eq!(stream.headers["cache-control"], "no-store");
        assert_eq!(stream.headers["x-accel-buffering"], "no");
        let events = stream.rest().await;
        assert_eq!(kinds_of(&events), expected, "{message}: {events:#?}");
        let run_id = id_of(&events[0], "run_id");
        let stored = user.wait(run_id).await;
        let last = events.last().unwrap();
        if kind_of(last) == "run.succeeded" {
            assert_eq!(text_of(&events), stored.text("message"), "{message}");
            assert_eq!(last["data"]["response"], stored.body);
        } else {
            assert_eq!(last["data"]["problem"], stored.body["problem"]);
        }
        for event in &events {
            assert_eq!(event["run_id"], stored.body["run_id"]);
            assert_eq!(event["conversation_id"], stored.body["conversation_id"]);
        }
        // A subscriber after the end receives the same events.
        let again = user.events(run_id, 0).await.rest().await;
        assert_eq!(again[1..], events[1..], "{message}");
        assert_eq!(again[0]["seq"], events[0]["seq"]);
        // A resumed stream has no gap and no repeat.
        for (seen, event) in events.iter().enumerate() {
            let rest = user.events(run_id, seq_of(event)).await;
            if seen + 1 == events.len() {
                assert_eq!(rest.status, 204);
            } else {
                assert_eq!(rest.rest().await, events[seen + 1..], "{message} after {seen}");
            }
        }
    }
}
