//! WebSockets: their frames, and how they are closed.

use std::time::Duration;

use errand_fake_model::{Behaviour, Gate, Script};
use errand_testkit::{Frame, Message, Socket, TestApp, User, eventually, kind_of, kinds_of, seq_of, text_of};
use serde_json::{Value, json};

pub(crate) async fn open(app: &TestApp, api: usize, user: &User) -> Socket {
    let bearer = format!("Bearer {}", user.token);
    Socket::open(&app.url_of(api), user.id, &[("authorization", &bearer)])
        .await
        .unwrap()
}

fn add_milk() -> Behaviour {
    Behaviour::tool_call("add_task", r#"{"title":"milk"}"#)
}

#[tokio::test]
async fn a_chat_over_a_websocket_reaches_every_device() {
    let app = TestApp::builder().apis(2).start().await;
    let user = app.user("Ada").await;
    let stranger = app.user("Bob").await;
    app.model
        .script(Script::new().when("milk", [add_milk(), Behaviour::reply("Milk is on the list.")]));
    let (mut phone, mut laptop) = (open(&app, 0, &user).await, open(&app, 1, &user).await);
    let mut other = open(&app, 1, &stranger).await;
    phone
        .send_json(json!({"type": "chat", "id": "a", "message": "Buy milk", "idempotency_key": "k"}))
        .await;
    let frames = phone.until("run.succeeded").await;
    let (accepted, events) = frames.split_first().unwrap();
    assert_eq!(
        (&accepted["type"], &accepted["id"]),
        (&json!("accepted"), &json!("a"))
    );
    let expected = [
        "run.queued",
        "run.started",
        "tool.started",
        "tool.finished",
        "message.delta",
        "run.succeeded",
    ];
    assert_eq!(kinds_of(events), expected);
    assert_eq!(text_of(events), "Milk is on the list.");
    for event in events {
        assert_eq!(event["run_id"], accepted["run_id"]);
        assert_eq!(event["conversation_id"], accepted["conversation_id"]);
    }
    let received = laptop.until("run.succeeded").await;
    assert_eq!(received[1..], events[1..]);

    // The key belongs to the first message, whether it is sent again over HTTP or a WebSocket.
    let body = json!({"message": "Buy milk"});
    let request = user
        .request(reqwest::Method::POST, "/chat")
        .header("idempotency-key", "k");
    let again = errand_testkit::Reply::read(request.json(&body)).await;
    assert_eq!(again.body["run_id"], accepted["run_id"]);
    phone
        .send_json(json!({"type": "chat", "id": "b", "message": "Buy milk", "idempotency_key": "k"}))
        .await;
    let frames = phone.until("run.succeeded").await;
    assert_eq!(frames[0]["id"], "b");
    assert_eq!(frames[0]["run_id"], accepted["run_id"]);
    assert_eq!(app.database.count("SELECT count(*) FROM tasks").await, 1);

    // The events of a run that was started over HTTP arrive too.
    let posted = user.chat("hello").await;
    let frames = laptop.until("run.succeeded").await;
    assert!(
        frames
            .iter()
            .all(|frame| frame["run_id"] == posted.body["run_id"]),
        "{frames:#?}"
    );
    other.send_json(json!({"type": "ping"})).await;
    assert_eq!(
        other.json().await,
        json!({"type": "pong"}),
        "no events of another user"
    );
}

#[tokio::test]
async fn a_late_websocket_receives_missed_events() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("milk", [add_milk(), Behaviour::reply("Done.").behind(&gate)]));
    let posted = user.chat_async(None, "milk").await;
    gate.wait_arrived(1).await;
    // The model is called while the step commits: its event is published later.
    let mut events = user.events(posted.id("run_id"), 0).await;
    events.until("tool.finished").await;
    let (mut late, mut asking) = (open(&app, 0, &user).await, open(&app, 0, &user).await);
    asking
        .send_json(json!({"type": "subscribe", "run_id": posted.body["run_id"]}))
        .await;
    let seen = asking.until("tool.finished").await;
    assert_eq!(
        kinds_of(&seen),
        ["run.queued", "run.started", "tool.started", "tool.finished"]
    );
    gate.release();
    let rest = asking.until("run.succeeded").await;
    assert_eq!(kinds_of(&rest), ["message.delta", "run.succeeded"]);
    // Without a subscription, the run is sent from the beginning at its next event.
    let all = late.until("run.succeeded").await;
    assert_eq!(all, [seen.clone(), rest.clone()].concat());

    let last = seq_of(seen.last().unwrap());
    late.send_json(json!({"type": "subscribe", "run_id": posted.body["run_id"], "after_seq": last}))
        .await;
    assert_eq!(late.until("run.succeeded").await, rest);
}

#[tokio::test]
async fn a_run_can_be_cancelled_over_a_websocket() {
    let app = TestApp::builder()
        .worker("--heartbeat-ms=60000")
        .worker("--worker-dead-after-ms=200000")
        .start()
        .await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("milk", [add_milk(), Behaviour::reply("Too late.").behind(&gate)]));
    let mut socket = open(&app, 0, &user).await;
    socket
        .send_json(json!({"type": "chat", "id": "a", "message": "milk"}))
        .await;
    let accepted = socket.json().await;
    gate.wait_arrived(1).await;
    let start = std::time::Instant::now();
    socket
        .send_json(json!({"type": "cancel", "run_id": accepted["run_id"]}))
        .await;
    let frames = socket.until("run.cancelled").await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let last = &frames.last().unwrap()["data"];
    assert_eq!(last["done"][0]["tool_name"], "add_task");
    assert!(last["usage"]["total_tokens"].as_i64() > Some(0));
    // Cancelling again is not an error and sends no event.
    socket
        .send_json(json!({"type": "cancel", "run_id": accepted["run_id"]}))
        .await;
    socket.send_json(json!({"type": "ping"})).await;
    assert_eq!(socket.json().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn an_invalid_frame_gets_a_problem_and_the_websocket_stays_open() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let mut socket = open(&app, 0, &user).await;
    let unknown = errand_shared::Uuid::now_v7();
    let cases = [
        (Message::binary(vec![0, 159]), 400, None),
        (Message::text("{"), 400, None),
        (Message::text("[]"), 422, None),
        (Message::text(r#"{"type":"dance","id":"a"}"#), 422, Some("a")),
        (
            Message::text(r#"{"type":"chat","id":"b","message":" "}"#),
            422,
            Some("b"),
        ),
        (
            Message::text(json!({"type": "chat", "id": "c", "message": "x".repeat(2001)}).to_string()),
            422,
            Some("c"),
        ),
        (
            Message::text(
                json!({"type": "chat", "id": "d", "message": "hi", "conversation_id": unknown}).to_string(),
            ),
            404,
            Some("d"),
        ),
        (
            Message::text(json!({"type": "cancel", "run_id": unknown}).to_string()),
            404,
            None,
        ),
        (
            Message::text(json!({"type": "subscribe", "run_id": unknown}).to_string()),
            404,
            None,
        ),
        (
            Message::text(json!({"type": "subscribe", "run_id": unknown, "after_seq": -1}).to_string()),
            422,
            None,
        ),
    ];
    for (message, status, id) in cases {
        let what = format!("{message:?}");
        socket.send(message).await;
        let frame = socket.json().await;
        assert_eq!(kind_of(&frame), "error", "{what}");
        assert_eq!(frame["problem"]["status"], status, "{what}: {frame}");
        assert_eq!(frame.get("id").and_then(Value::as_str), id, "{what}");
    }
    socket.send_json(json!({"type": "ping"})).await;
    assert_eq!(socket.json().await, json!({"type": "pong"}));
    assert_eq!(app.database.count("SELECT count(*) FROM runs").await, 0);

    socket.send(Message::text(" ".repeat(100_000))).await;
    assert_eq!(
        socket.next().await,
        Frame::Closed(Some(1002)),
        "a frame over the size limit"
    );
}

#[tokio::test]
async fn a_rate_limited_frame_has_retry_after() {
    let app = TestApp::builder()
        .api("--rate-limit-chat-per-minute=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    let mut socket = open(&app, 0, &user).await;
    socket
        .send_json(json!({"type": "chat", "id": "a", "message": "hello"}))
        .await;
    socket.until("run.succeeded").await;
    socket
        .send_json(json!({"type": "chat", "id": "b", "message": "hello"}))
        .await;
    let refused = socket.json().await;
    assert_eq!(refused["problem"]["status"], 429);
    let seconds = refused["problem"]["retry_after"].as_u64().unwrap();
    assert!((1..=60).contains(&seconds), "{refused}");
}

#[tokio::test]
async fn the_handshake_requires_a_valid_caller_and_origin() {
    let app = TestApp::builder()
        .api("--cors-allowed-origins=https://app.example")
        .api("--ws-connections-per-user=3")
        .start()
        .await;
    let (user, other) = (app.user("Ada").await, app.user("Bob").await);
    let bearer = format!("Bearer {}", user.token);
    let protocols = format!("errand.v1, bearer.{}", user.token);
    let own = app.url();
    let open_as = async |id, headers: &[(&str, &str)]| Socket::open(&own, id, headers).await;

    assert_eq!(open_as(user.id, &[]).await.unwrap_err(), 401);
    assert_eq!(
        open_as(user.id, &[("authorization", "Bearer x")])
            .await
            .unwrap_err(),
        401
    );
    let bad = [("sec-websocket-protocol", "errand.v1, bearer.x")];
    assert_eq!(open_as(user.id, &bad).await.unwrap_err(), 401);
    assert_eq!(
        open_as(other.id, &[("authorization", &bearer)])
            .await
            .unwrap_err(),
        403
    );
    let foreign_origin = [
        ("authorization", bearer.as_str()),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(open_as(user.id, &foreign_origin).await.unwrap_err(), 403);

    let mut sockets = Vec::new();
    let page = [
        ("sec-websocket-protocol", protocols.as_str()),
        ("origin", own.as_str()),
    ];
    sockets.push(open_as(user.id, &page).await.unwrap());
    assert_eq!(
        sockets[0].protocol.as_deref(),
        Some("errand.v1"),
        "the response does not contain the token"
    );
    let listed = [
        ("authorization", bearer.as_str()),
        ("origin", "https://app.example"),
    ];
    sockets.push(open_as(user.id, &listed).await.unwrap());
    assert_eq!(sockets[1].protocol, None);
    sockets.push(open_as(user.id, &[("authorization", &bearer)]).await.unwrap());
    assert_eq!(open_as(user.id, &page).await.unwrap_err(), 429);
    let theirs = format!("Bearer {}", other.token);
    drop(open_as(other.id, &[("authorization", &theirs)]).await.unwrap());
    sockets.pop();
    eventually("the connection count has decreased", || async {
        open_as(user.id, &page).await.is_ok()
    })
    .await;

    let plain = user.get("/ws").await;
    assert_eq!(plain.status, 400, "{}", plain.body);
    assert_eq!(plain.headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn an_expired_token_closes_its_websocket() {
    let app = TestApp::builder().api("--jwt-ttl-seconds=2").start().await;
    let user = app.user("Ada").await;
    let socket = open(&app, 0, &user).await;
    assert_eq!(socket.rest().await, (Vec::new(), Some(4401)));
}

#[tokio::test]
async fn a_shutdown_closes_websockets_and_the_client_continues_elsewhere() {
    let mut app = TestApp::builder().apis(2).start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model
        .script(Script::new().when("wait", [Behaviour::reply("Here at last.").behind(&gate)]));
    let mut socket = open(&app, 0, &user).await;
    socket
        .send_json(json!({"type": "chat", "id": "a", "message": "wait"}))
        .await;
    let mut frames = socket.until("run.started").await;
    gate.wait_arrived(1).await;
    let stop = app.stop_api(0);
    let ((rest, code), ()) = tokio::join!(socket.rest(), stop);
    assert_eq!((rest.as_slice(), code), ([].as_slice(), Some(1001)));
    let mut elsewhere = open(&app, 0, &user).await;
    let (run_id, last) = (frames[0]["run_id"].clone(), seq_of(frames.last().unwrap()));
    elsewhere
        .send_json(json!({"type": "subscribe", "run_id": run_id, "after_seq": last}))
        .await;
    elsewhere.send_json(json!({"type": "ping"})).await;
    assert_eq!(elsewhere.json().await, json!({"type": "pong"}));
    gate.release();
    frames.remove(0);
    frames.extend(elsewhere.until("run.succeeded").await);
    assert_eq!(
        kinds_of(&frames),
        ["run.queued", "run.started", "message.delta", "run.succeeded"]
    );
    assert_eq!(text_of(&frames), "Here at last.");
}

#[tokio::test]
async fn a_client_without_pongs_is_disconnected() {
    let app = TestApp::builder()
        .api("--ws-ping-seconds=1")
        .api("--ws-pong-timeout-seconds=1")
        .api("--ws-connections-per-user=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    // The client reads nothing, so it answers no pings.
    let silent = open(&app, 0, &user).await;
    let bearer = format!("Bearer {}", user.token);
    eventually("the connection count has decreased", || async {
        Socket::open(&app.url(), user.id, &[("authorization", &bearer)])
            .await
            .is_ok()
    })
    .await;
    drop(silent);
}

#[tokio::test]
async fn a_slow_client_is_disconnected_and_can_continue() {
    let app = TestApp::builder()
        .api("--live-buffer-events=16")
        .worker("--delta-interval-ms=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    let word = format!("{} ", "x".repeat(20_000)).repeat(20);
    app.model
        .script(Script::always(Behaviour::reply(word.trim_end())));
    let (mut slow, mut quick) = (open(&app, 0, &user).await, open(&app, 0, &user).await);
    let mut runs = Vec::new();
    // Until the buffers of the kernel and of the API are full.
    for number in 0..24 {
        quick
            .send_json(json!({"type": "chat", "id": number.to_string(), "message": "go"}))
            .await;
        let frames = quick.until("run.succeeded").await;
        runs.push(frames[0]["run_id"].clone());
    }
    let mut seen: Vec<Value> = Vec::new();
    let code = loop {
        match slow.next().await {
            Frame::Json(frame) => seen.push(frame),
            Frame::Closed(code) => break code,
        }
    };
    assert_eq!(code, Some(1013));
    let last = seen.last().unwrap();
    let run_id = last["run_id"].clone();
    let mut received: Vec<_> = seen
        .iter()
        .filter(|frame| frame["run_id"] == run_id)
        .cloned()
        .collect();
    let mut again = open(&app, 0, &user).await;
    again
        .send_json(json!({"type": "subscribe", "run_id": run_id, "after_seq": seq_of(last)}))
        .await;
    if kind_of(last) != "run.succeeded" {
        received.extend(again.until("run.succeeded").await);
    }
    assert_eq!(
        received.last().unwrap()["data"]["response"]["message"].as_str(),
        Some(word.trim_end())
    );
    assert_eq!(text_of(&received), word.trim_end());
    assert!(runs.contains(&run_id));
}
