//! Whatever the model's server does, each run comes to an honest end in time, and its conversation goes on.

use std::time::{Duration, Instant};

use errand_fake_model::{Behaviour, FinishReason, Script};
use errand_testkit::{Builder, Reply, TestApp, User};
use serde_json::json;

/// What a message comes to.
enum End {
    /// A reply that contains this.
    Says(&'static str),
    /// A failure whose reason contains this, after so many tries.
    Fails(&'static str, u64),
}
use End::{Fails, Says};

fn stream(events: &[u8]) -> Behaviour {
    Behaviour::RawBody {
        status: 200,
        content_type: "text/event-stream".to_owned(),
        bytes: events.to_vec(),
    }
}

fn page(status: u16, content_type: &str, body: &str) -> Behaviour {
    Behaviour::RawBody {
        status,
        content_type: content_type.to_owned(),
        bytes: body.into(),
    }
}

fn finish(reason: FinishReason, content: &str) -> Behaviour {
    Behaviour::Finish {
        reason,
        content: content.to_owned(),
    }
}

/// With a model's time-outs so short that a table of silent models is soon through.
async fn app() -> (TestApp, User) {
    start(
        TestApp::builder()
            .worker("--model-timeout-ms=500")
            .worker("--model-idle-timeout-ms=300"),
    )
    .await
}

async fn start(builder: Builder) -> (TestApp, User) {
    let app = builder.worker("--model-retries=1").start().await;
    let user = app.user("Ada").await;
    (app, user)
}

/// All that a user is ever told of a provider's faults: nothing of it is the provider's.
const REASONS: [&str; 11] = [
    "the model provider could not be reached",
    "the model provider's quota is used up",
    "the model provider is overloaded",
    "the model provider answered with status ",
    "the model provider did not answer in time",
    "the model provider's answer could not be read",
    "the model provider's answer was too large",
    "the tool-loop limit was reached without an answer; asking for less at once may help",
    "the model provider's content filter blocked the answer",
    "the model returned an empty answer",
    "the model reached its length limit before it produced any text",
];

/// Lets every model call meet the behaviour; then the conversation goes on with a model that is well.
async fn comes_to(app: &TestApp, user: &User, behaviour: Behaviour, end: End) -> Reply {
    let what = format!("{behaviour:.200?}");
    comes_of(app, user, &what, Script::always(behaviour), end).await
}

/// The same of a model that follows a script.
async fn comes_of(app: &TestApp, user: &User, what: &str, script: Script, end: End) -> Reply {
    app.model.script(script);
    let (asked, before) = (Instant::now(), app.model.counts().received);
    let reply = user.chat("go").await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{what}: {:?}",
        asked.elapsed()
    );
    match end {
        Says(text) => {
            assert_eq!(reply.status, 200, "{what}: {}", reply.body);
            assert!(
                reply.text("message").contains(text),
                "{what}: {:.300}",
                reply.body
            );
        }
        Fails(reason, tries) => {
            assert_eq!(reply.status, 502, "{what}: {:.300}", reply.body);
            let detail = reply.text("detail");
            assert!(
                detail.starts_with("Agent execution failed: ") && detail.contains(reason),
                "{what}: {detail}"
            );
            let told = detail.trim_start_matches("Agent execution failed: ");
            let told = told.trim_end_matches(|last: char| last.is_ascii_digit());
            assert!(REASONS.contains(&told), "{what}: {detail}");
            assert_eq!(app.model.counts().received - before, tries, "{what}");
        }
    }
    // The server refuses a transcript that is not valid.
    app.model.script(Script::always(Behaviour::reply("And on.")));
    let next = user.chat_in(reply.id("conversation_id"), "and on").await;
    assert_eq!(next.text("message"), "And on.", "after {what}: {}", next.body);
    reply
}

/// Whatever the model did, it was its fault: no code of ours panicked and no statement failed.
async fn assert_no_internal_failures(app: &TestApp) {
    let ours = "SELECT count(*) FROM runs WHERE failures > 0 OR rescues > 0 OR attempt <> 1";
    assert_eq!(app.database.count(ours).await, 0);
}

#[tokio::test]
async fn answers_that_say_something_are_replies() {
    let (app, user) = app().await;
    for (behaviour, text) in [
        (
            Behaviour::Refusal("That I can't do.".to_owned()),
            "That I can't do.",
        ),
        (
            finish(FinishReason::Length, "Half an"),
            "Half an\n\n(The answer was cut off",
        ),
        (
            finish(FinishReason::ToolCalls, "No calls after all."),
            "No calls after all.",
        ),
        (Behaviour::reply("mi\0lk"), "milk"),
        (
            Behaviour::reply("\u{1f980} \u{202e}\u{feff} \"quoted\" \\ </script>"),
            "\u{1f980} \u{202e}\u{feff} \"quoted\" \\ </script>",
        ),
        (
            stream(
                b"data: {\"choices\":[{\"delta\":{\"content\":\"Lenient.\"},\"finish_reason\":\"eos\"}]}\n\n",
            ),
            "Lenient.",
        ),
        (
            stream(b"\xef\xbb\xbfdata: {\"choices\":[{\"delta\":{\"content\":\"Marked.\"},\"finish_reason\":\"stop\"}]}\n\n"),
            "Marked.",
        ),
    ] {
        comes_to(&app, &user, behaviour, Says(text)).await;
    }
    let huge = format!("{} ", "x".repeat(2000)).repeat(450);
    comes_to(&app, &user, Behaviour::reply(huge.clone()), Says("xx xx")).await;
    let lengths = app
        .database
        .texts("SELECT max(length(content))::text FROM messages")
        .await;
    assert_eq!(lengths, [huge.len().to_string()], "nothing is cut off silently");
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn answers_that_say_nothing_fail_without_another_try() {
    let (app, user) = app().await;
    for (behaviour, reason) in [
        (Behaviour::NullContent, "empty answer"),
        (Behaviour::reply(" \n\t"), "empty answer"),
        (Behaviour::reply("\0"), "empty answer"),
        (Behaviour::Refusal(String::new()), "empty answer"),
        (finish(FinishReason::Length, ""), "length limit"),
        (finish(FinishReason::ContentFilter, "Half an"), "content filter"),
        (Behaviour::EmptyChoices, "could not be read"),
        (Behaviour::reply("x".repeat(1_200_000)), "too large"),
        // A line that never ends.
        (stream(&vec![b'x'; 3 << 20]), "too large"),
    ] {
        comes_to(&app, &user, behaviour, Fails(reason, 1)).await;
    }
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn answers_that_are_no_chat_completions_fail_without_another_try() {
    let (app, user) = app().await;
    let unreadable = [
        Behaviour::raw(r#"{"error":{"message":"the model is tired"}}"#),
        Behaviour::raw(""),
        page(200, "text/html", "<html>"),
        page(
            200,
            "application/json",
            r#"{"choices":[{"message":{"content":"not streamed"}}]}"#,
        ),
        page(204, "text/plain", ""),
        stream(b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n"),
        stream(b"data: nonsense\n\n"),
        stream(b"data: {\"choices\":null}\n\n"),
        stream(b"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":-1}]}}]}\n\n"),
        stream(b"data: {\"choices\":[{\"delta\":{\"content\":[\"parts\"]},\"finish_reason\":\"stop\"}]}\n\n"),
        stream(b"data: {\"choices\":5}\n\n"),
        stream(
            b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\"},\"finish_reason\":\"stop\"}]}\n\n",
        ),
        stream(b"data: {\"choices\":[{\"delta\":{\"content\":\"\\ud800\"},\"finish_reason\":\"stop\"}]}\n\n"),
        stream(b"data: [DONE]\n\n"),
        stream(b""),
    ];
    for behaviour in unreadable {
        comes_to(&app, &user, behaviour, Fails("could not be read", 1)).await;
    }
    for code in [400, 401, 403, 404, 422] {
        comes_to(
            &app,
            &user,
            Behaviour::status(code),
            Fails("answered with status", 1),
        )
        .await;
    }
    comes_to(
        &app,
        &user,
        page(302, "text/html", "elsewhere"),
        Fails("status 302", 1),
    )
    .await;
    let quota = Behaviour::Status {
        code: 429,
        retry_after: None,
        body: Some(r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#.to_owned()),
    };
    comes_to(&app, &user, quota, Fails("quota", 1)).await;
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn a_server_that_breaks_or_dawdles_is_tried_again_and_then_given_up() {
    let (app, user) = app().await;
    for (behaviour, reason) in [
        (Behaviour::Disconnect, "could not be reached"),
        (
            Behaviour::DisconnectMidStream { after_chunks: 2 },
            "could not be reached",
        ),
        (
            stream(b"data: {\"choices\":[{\"delta\":{\"content\":\"Half an\"}}]}\n\n"),
            "could not be reached",
        ),
        (Behaviour::Hang, "did not answer in time"),
        (
            Behaviour::Drip {
                chunk_every: Duration::from_millis(20),
            },
            "did not answer in time",
        ),
        (Behaviour::status(500), "status 500"),
        (Behaviour::status(503), "status 503"),
        (page(502, "text/html", "<html>Bad gateway</html>"), "status 502"),
        // An hour, which is capped.
        (Behaviour::rate_limited(3600), "overloaded"),
    ] {
        comes_to(&app, &user, behaviour, Fails(reason, 2)).await;
    }
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn what_a_provider_says_is_shown_to_no_user() {
    let (app, user) = app().await;
    let secret = "key sk-123 of account 7";
    let body = format!(r#"{{"error":{{"message":"{secret}"}}}}"#);
    for behaviour in [
        Behaviour::Status {
            code: 401,
            retry_after: None,
            body: Some(body.clone()),
        },
        stream(format!("data: {body}\n\n").as_bytes()),
        page(500, "text/plain", secret),
    ] {
        app.model.script(Script::always(behaviour));
        let reply = user.chat("go").await;
        assert_eq!(reply.status, 502);
        assert!(!reply.body.to_string().contains("sk-123"), "{}", reply.body);
    }
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM runs WHERE last_error LIKE '%sk-123%'")
            .await,
        3
    );
    assert_no_internal_failures(&app).await;
}

/// One event of a stream that ends with these tool calls, as raw JSON.
fn calls(deltas: &str) -> Behaviour {
    let event =
        format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{deltas}]}},"finish_reason":"tool_calls"}}]}}"#);
    stream(format!("data: {event}\n\ndata: [DONE]\n\n").as_bytes())
}

#[tokio::test]
async fn calls_that_no_honest_model_makes_touch_nobody_elses_tasks_and_end_well() {
    // None of these models is slow, but what they say takes a busy machine a while to read.
    let (app, user) = start(TestApp::builder()).await;
    let eve = app.user("Eve").await;
    eve.post("/tasks", json!({"title": "hers"})).await;
    user.post("/tasks", json!({"title": "mine"})).await;
    let list = |arguments: &str| Behaviour::tool_call("list_tasks", arguments);
    let many = |count: usize| Behaviour::ToolCalls(vec![("list_tasks".to_owned(), "{}".to_owned()); count]);
    let her = |name: &str| {
        Behaviour::tool_call(
            name,
            format!(r#"{{"user_id":"{}","task_id":1,"title":"X"}}"#, eve.id),
        )
    };
    // What it asks for first, and how many calls are journalled; then it has recovered.
    let once = [
        (list("{cut"), 1),
        (list("[1]"), 1),
        (list("null"), 1),
        (list(r#"{"search":"a\u0000b"}"#), 1),
        (list(r#"{"search":"\ud800"}"#), 1),
        (list(r#"{"limit":1e400}"#), 1),
        (list(r#"{"limit":-1,"offset":18446744073709551616}"#), 1),
        (list(&format!(r#"{{"search":"{}"}}"#, "x".repeat(50_000))), 1),
        (list(&"[".repeat(100_000)), 1),
        (
            Behaviour::tool_call("complete_task", r#"{"task_id":9223372036854775807}"#),
            1,
        ),
        (Behaviour::tool_call("complete_task", r#"{"task_id":1.5}"#), 1),
        (Behaviour::tool_call("drop_tables", "{}"), 1),
        (Behaviour::tool_call("", "{}"), 1),
        (Behaviour::tool_call("x".repeat(10_000), "{}"), 1),
        (Behaviour::tool_call("\0\u{202e}\n", "{}"), 1),
        (her("list_tasks"), 1),
        (many(50), 50),
        (
            Behaviour::DuplicateToolCallIds(vec![("list_tasks".to_owned(), "{}".to_owned()); 3]),
            3,
        ),
        (
            calls(
                r#"{"function":{"name":"list_tasks","arguments":"{}"}},{"function":{"name":"list_tasks"}}"#,
            ),
            2,
        ),
        (
            calls(r#"{"index":7,"id":""},{"index":3,"id":null,"function":null}"#),
            2,
        ),
        (
            calls(&format!(
                r#"{{"index":0,"id":"{}","function":{{"name":"list_tasks"}}}}"#,
                "i".repeat(5000)
            )),
            1,
        ),
    ];
    for (behaviour, made) in once {
        let what = format!("{behaviour:.200?}");
        let script = Script::new()
            .then([behaviour])
            .otherwise(Behaviour::reply("Recovered."));
        let reply = comes_of(&app, &user, &what, script, Says("Recovered.")).await;
        assert_eq!(reply.tools().len(), made, "{what}: {:.300}", reply.body);
        assert!(!reply.body.to_string().contains("hers"), "{what}: {}", reply.body);
    }
    let large = format!(
        r#"{{"index":0,"function":{{"name":"list_tasks","arguments":"{}"}}}}"#,
        "x".repeat(1_200_000)
    );
    // What it asks for again and again, and how often it is let.
    let for_ever = [
        (list("{}"), Fails("tool-loop limit", 10)),
        (many(50), Fails("tool-loop limit", 2)),
        (many(200), Fails("too large", 1)),
        (calls(&large), Fails("too large", 1)),
    ];
    for (behaviour, end) in for_ever {
        comes_to(&app, &user, behaviour, end).await;
    }
    for name in ["complete_task", "update_task", "delete_task", "add_task"] {
        let script = Script::new()
            .then([her(name)])
            .otherwise(Behaviour::reply("Recovered."));
        comes_of(&app, &user, name, script, Says("Recovered.")).await;
    }
    let tasks = "SELECT concat_ws(' ', u.name, t.number, t.title, t.completed) FROM tasks t \
                 JOIN users u ON u.id = t.user_id ORDER BY u.name, t.number";
    assert_eq!(app.database.texts(tasks).await, ["Ada 2 X f", "Eve 1 hers f"]);
    let told = app.model.requests();
    assert!(
        told.iter()
            .all(|request| !String::from_utf8_lossy(&request.raw).contains("hers"))
    );
    assert_no_internal_failures(&app).await;
}
