//! Whatever the model's server does, each run comes to an honest end in time, and its conversation goes on.

use std::time::{Duration, Instant};

use errand_model::{Behaviour, FinishReason, Script};
use errand_testkit::{TestApp, User};

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

async fn app() -> (TestApp, User) {
    let app = TestApp::builder()
        .worker("--model-timeout-ms=500")
        .worker("--model-idle-timeout-ms=300")
        .worker("--model-retries=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    (app, user)
}

/// Lets every model call meet the behaviour; then the conversation goes on with a model that is well.
async fn comes_to(app: &TestApp, user: &User, behaviour: Behaviour, end: End) {
    let what = format!("{behaviour:.200?}");
    app.model.script(Script::always(behaviour));
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
            assert_eq!(app.model.counts().received - before, tries, "{what}");
        }
    }
    app.model.script(Script::always(Behaviour::reply("And on.")));
    let next = user.chat_in(reply.id("conversation_id"), "and on").await;
    assert_eq!(next.text("message"), "And on.", "after {what}: {}", next.body);
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
    app.stop().await;
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
    ] {
        comes_to(&app, &user, behaviour, Fails(reason, 1)).await;
    }
    app.stop().await;
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
    app.stop().await;
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
    app.stop().await;
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
    app.stop().await;
}
