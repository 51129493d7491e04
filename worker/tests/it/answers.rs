//! Whatever the model provider sends, every run ends in time with a reply or a reason, and its conversation continues.

use std::time::{Duration, Instant};

use errand_fake_model::{Behaviour, FinishReason, Script};
use errand_testkit::{Builder, Reply, TestApp, User};
use serde_json::json;

/// The expected end of a run.
enum End {
    /// A reply that contains this text.
    Replies(&'static str),
    /// A failure whose reason contains this text, after this many model requests.
    Fails(&'static str, u64),
}
use End::{Fails, Replies};

fn stream(events: &[u8]) -> Behaviour {
    response(200, "text/event-stream", events)
}

fn response(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Behaviour {
    Behaviour::RawBody {
        status,
        content_type: content_type.to_owned(),
        bytes: body.into(),
    }
}

fn error_response(status: u16, error: &str) -> Behaviour {
    response(status, "application/json", format!(r#"{{"error":{error}}}"#))
}

fn finish(reason: FinishReason, content: &str) -> Behaviour {
    Behaviour::Finish {
        reason,
        content: content.to_owned(),
    }
}

/// An app whose model time-outs are so short that a table of silent models takes little time.
async fn app_with_short_timeouts() -> (TestApp, User) {
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

/// All reasons that a user is shown, without the status at the end. None contains text of the provider.
const REASONS: [&str; 16] = [
    "the model provider could not be reached",
    "the model provider did not answer in time",
    "the model provider is overloaded; try again in a minute",
    "the model provider's quota is used up; an administrator must raise it",
    "the model provider has a problem; try again later",
    "the model provider's content filter rejected the conversation; other words may help",
    "the conversation is too long for the model; start a new one",
    "the model provider rejected the request; an administrator can see why",
    "the model provider rejected the API key; an administrator must check it",
    "the model provider does not know the model; an administrator must check its name",
    "the model wrote a tool call that could not be read; try again",
    "the model provider's answer could not be read",
    "the model provider's answer was too large",
    "the tool-loop limit was reached without an answer; asking for less at once may help",
    "the model returned an empty answer",
    "the model reached its length limit before it produced any text",
];
const FILTERED: &str = "the model provider's content filter blocked the answer";

/// Asserts the end of a run whose model requests are all answered like this. Then the conversation continues with a model that
/// works.
async fn assert_end(app: &TestApp, user: &User, behaviour: Behaviour, end: End) -> Reply {
    let what = format!("{behaviour:.200?}");
    assert_end_of(app, user, &what, Script::always(behaviour), end).await
}

/// Asserts the end of a run whose model follows a script.
async fn assert_end_of(app: &TestApp, user: &User, what: &str, script: Script, end: End) -> Reply {
    app.model.script(script);
    let (start, before) = (Instant::now(), app.model.counts().received);
    let reply = user.chat("go").await;
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{what}: {:?}",
        start.elapsed()
    );
    match end {
        Replies(text) => {
            assert_eq!(reply.status, 200, "{what}: {}", reply.body);
            assert!(
                reply.text("message").contains(text),
                "{what}: {:.300}",
                reply.body
            );
        }
        Fails(reason, requests) => {
            assert_eq!(reply.status, 502, "{what}: {:.300}", reply.body);
            let detail = reply.text("detail");
            assert!(
                detail.starts_with("Agent execution failed: ") && detail.contains(reason),
                "{what}: {detail}"
            );
            let shown = detail.trim_start_matches("Agent execution failed: ");
            let shown = shown.split(" (status ").next().unwrap();
            assert!(shown == FILTERED || REASONS.contains(&shown), "{what}: {detail}");
            assert_eq!(app.model.counts().received - before, requests, "{what}");
        }
    }
    // The fake model rejects an invalid transcript.
    app.model.script(Script::always(Behaviour::reply("Continued.")));
    let next = user.chat_in(reply.id("conversation_id"), "continue").await;
    assert_eq!(next.text("message"), "Continued.", "after {what}: {}", next.body);
    reply
}

/// Asserts that no run failed because of a bug or a statement.
async fn assert_no_internal_failures(app: &TestApp) {
    let failed = "SELECT count(*) FROM runs WHERE failures > 0 OR rescues > 0 OR attempt <> 1";
    assert_eq!(app.database.count(failed).await, 0);
}

#[tokio::test]
async fn answers_with_text_are_replies() {
    let (app, user) = start(TestApp::builder()).await;
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
        (Behaviour::reply("<think>\nHm.\n</think>\n\nAnswer."), "Answer."),
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
        (
            stream(b"data: {\"choices\":[{\"delta\":{\"content\":[\"parts\"]},\"finish_reason\":\"stop\"}]}\n\n"),
            "parts",
        ),
        (
            stream(
                b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff.\"},\"finish_reason\":\"stop\"}]}\n\n",
            ),
            "\u{fffd}.",
        ),
        (
            stream(b"data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83e\"}}]}\n\n\
                     data: {\"choices\":[{\"delta\":{\"content\":\"\\udd80\"}}]}\n\ndata: [DONE]\n\n"),
            "\u{1f980}",
        ),
        (
            response(
                200,
                "text/plain",
                r#"{"choices":[{"message":{"content":"not streamed"}}]}"#,
            ),
            "not streamed",
        ),
    ] {
        assert_end(&app, &user, behaviour, Replies(text)).await;
    }
    let reply = assert_end(
        &app,
        &user,
        Behaviour::reply("<think>Hm.</think>Visible."),
        Replies("Visible."),
    )
    .await;
    assert_eq!(reply.text("message"), "Visible.");
    let large = format!("{} ", "x".repeat(2000)).repeat(450);
    assert_end(&app, &user, Behaviour::reply(large.clone()), Replies("xx xx")).await;
    let lengths = app
        .database
        .texts("SELECT max(length(content))::text FROM messages")
        .await;
    assert_eq!(lengths, [large.len().to_string()], "nothing is cut off silently");
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn answers_without_text_or_calls_fail_without_a_retry() {
    let (app, user) = start(TestApp::builder()).await;
    for (behaviour, reason) in [
        (Behaviour::NullContent, "empty answer"),
        (Behaviour::reply(" \n\t"), "empty answer"),
        (Behaviour::reply("\0"), "empty answer"),
        (Behaviour::reply("<think>Hm."), "empty answer"),
        (Behaviour::Refusal(String::new()), "empty answer"),
        (
            calls(r#"{"index":7,"id":""},{"index":3,"id":null,"function":null}"#),
            "empty answer",
        ),
        (finish(FinishReason::Length, ""), "length limit"),
        (finish(FinishReason::ContentFilter, "Half an"), "content filter"),
        (Behaviour::EmptyChoices, "could not be read"),
        (Behaviour::reply("x".repeat(1_200_000)), "too large"),
        // A line that never ends.
        (stream(&vec![b'x'; 3 << 20]), "too large"),
    ] {
        assert_end(&app, &user, behaviour, Fails(reason, 1)).await;
    }
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn responses_that_are_not_answers_fail_without_a_retry() {
    let (app, user) = start(TestApp::builder()).await;
    let unreadable = [
        Behaviour::raw(""),
        response(200, "text/html", "<html>"),
        response(204, "text/plain", ""),
        stream(b"data: nonsense\n\n"),
        stream(b"data: {\"choices\":null}\n\n"),
        stream(b"data: {\"choices\":5}\n\n"),
        stream(b"data: [DONE]\n\n"),
        stream(b""),
    ];
    for behaviour in unreadable {
        assert_end(&app, &user, behaviour, Fails("could not be read", 1)).await;
    }
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn lasting_errors_fail_without_a_retry() {
    let (app, user) = start(TestApp::builder()).await;
    for (behaviour, reason) in [
        (Behaviour::status(400), "rejected the request"),
        (Behaviour::status(401), "rejected the API key"),
        (Behaviour::status(403), "rejected the API key"),
        (Behaviour::status(404), "does not know the model"),
        (Behaviour::status(422), "rejected the request"),
        (response(302, "text/html", "elsewhere"), "rejected the request"),
        (
            error_response(429, r#"{"message":"pay","code":"insufficient_quota"}"#),
            "quota",
        ),
        (
            error_response(400, r#"{"message":"long","code":"context_length_exceeded"}"#),
            "too long",
        ),
        (
            error_response(400, r#"{"message":"no","code":"content_filter"}"#),
            "content filter",
        ),
        (error_response(200, r#"{"code":401,"message":"no"}"#), "API key"),
        (
            stream(b"data: {\"error\":{\"code\":400,\"message\":\"no\"}}\n\n"),
            "rejected the request",
        ),
    ] {
        assert_end(&app, &user, behaviour, Fails(reason, 1)).await;
    }
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn transient_errors_are_retried_before_the_run_fails() {
    let (app, user) = app_with_short_timeouts().await;
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
        (
            stream(b"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":-1}]}}]}\n\n"),
            "could not be reached",
        ),
        (Behaviour::Hang, "did not answer in time"),
        (
            Behaviour::Drip {
                chunk_every: Duration::from_millis(20),
            },
            "did not answer in time",
        ),
        (
            Behaviour::status(500),
            "has a problem; try again later (status 500)",
        ),
        (Behaviour::status(503), "status 503"),
        (
            response(502, "text/html", "<html>Bad gateway</html>"),
            "status 502",
        ),
        (
            error_response(200, r#"{"message":"the model is tired"}"#),
            "has a problem",
        ),
        (
            stream(b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n"),
            "has a problem",
        ),
        (error_response(400, r#"{"code":"tool_use_failed"}"#), "tool call"),
        // An hour, which exceeds the longest wait.
        (Behaviour::rate_limited(3600), "overloaded"),
    ] {
        assert_end(&app, &user, behaviour, Fails(reason, 2)).await;
    }
    assert_no_internal_failures(&app).await;
}

#[tokio::test]
async fn users_are_not_shown_what_the_provider_wrote() {
    let (app, user) = start(TestApp::builder()).await;
    let secret = "key sk-123 of account 7";
    let body = format!(r#"{{"error":{{"message":"{secret}"}}}}"#);
    for behaviour in [
        response(401, "application/json", body.clone()),
        stream(format!("data: {body}\n\n").as_bytes()),
        response(500, "text/plain", secret),
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

/// A stream with one event that contains these tool calls as JSON.
fn calls(deltas: &str) -> Behaviour {
    let event =
        format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{deltas}]}},"finish_reason":"tool_calls"}}]}}"#);
    stream(format!("data: {event}\n\ndata: [DONE]\n\n").as_bytes())
}

#[tokio::test]
async fn malicious_calls_touch_no_tasks_of_other_users() {
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
    // The first answer, and how many calls are recorded. The second answer is a reply.
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
        let reply = assert_end_of(&app, &user, &what, script, Replies("Recovered.")).await;
        assert_eq!(reply.tools().len(), made, "{what}: {:.300}", reply.body);
        assert!(!reply.body.to_string().contains("hers"), "{what}: {}", reply.body);
    }
    let large = format!(
        r#"{{"index":0,"function":{{"name":"list_tasks","arguments":"{}"}}}}"#,
        "x".repeat(1_200_000)
    );
    // Calls that are repeated until the run fails.
    let repeated = [
        (list("{}"), Fails("tool-loop limit", 10)),
        (many(50), Fails("tool-loop limit", 2)),
        (many(200), Fails("too large", 1)),
        (calls(&large), Fails("too large", 1)),
    ];
    for (behaviour, end) in repeated {
        assert_end(&app, &user, behaviour, end).await;
    }
    for name in ["complete_task", "update_task", "delete_task", "add_task"] {
        let script = Script::new()
            .then([her(name)])
            .otherwise(Behaviour::reply("Recovered."));
        assert_end_of(&app, &user, name, script, Replies("Recovered.")).await;
    }
    let tasks = "SELECT concat_ws(' ', u.name, t.number, t.title, t.completed) FROM tasks t \
                 JOIN users u ON u.id = t.user_id ORDER BY u.name, t.number";
    assert_eq!(app.database.texts(tasks).await, ["Ada 2 X f", "Eve 1 hers f"]);
    let requests = app.model.requests();
    assert!(
        requests
            .iter()
            .all(|request| !String::from_utf8_lossy(&request.raw).contains("hers"))
    );
    assert_no_internal_failures(&app).await;
}
