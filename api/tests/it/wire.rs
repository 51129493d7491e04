//! HTTP that no library would send: every unusual request is answered or rejected without affecting others.

use std::time::Duration;

use errand_testkit::{TestApp, User};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.url().trim_start_matches("http://"))
        .await
        .unwrap()
}

/// Reads until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    // A server that rejects an unread body resets the connection after its response.
    let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut response)).await;
    let response = String::from_utf8_lossy(&response).into_owned();
    assert!(ended.is_ok(), "the connection stays open after {response:?}");
    response
}

/// The response to these bytes, after which the server closes.
async fn response_to(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = connect(app).await;
    // The server may respond before all bytes are sent.
    drop(stream.write_all(bytes).await);
    rest(&mut stream).await
}

/// The statuses of the responses, in order.
fn statuses(response: &str) -> Vec<u16> {
    let answers = response.split("HTTP/1.").skip(1);
    answers
        .filter_map(|answer| answer.split(' ').nth(1)?.parse().ok())
        .collect()
}

async fn app() -> (TestApp, User) {
    let app = TestApp::builder()
        .workers(0)
        .api("--http-header-timeout-ms=400")
        .api("--http-body-timeout-ms=400")
        .start()
        .await;
    let user = app.user("Ada").await;
    (app, user)
}

/// The head of a request that adds a task, with additional headers.
fn post(user: &User, headers: &str) -> String {
    format!(
        "POST /api/{}/tasks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{headers}\r\n",
        user.id, user.token
    )
}

const CLOSE: &str = "connection: close\r\n";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn unusual_requests_do_not_affect_others() {
    let (app, _) = app().await;
    let get = |line: &str, headers: &str| format!("{line}\r\nhost: x\r\n{headers}{CLOSE}\r\n");
    let cases = [
        ("HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("HEAD", get("HEAD /healthz HTTP/1.1", ""), 200),
        ("OPTIONS", get("OPTIONS /healthz HTTP/1.1", ""), 200),
        ("an unknown method", get("BREW /healthz HTTP/1.1", ""), 405),
        ("CONNECT", get("CONNECT example.com:443 HTTP/1.1", ""), 404),
        ("TRACE", get("TRACE /healthz HTTP/1.1", ""), 405),
        ("an absolute URI", get("GET http://x/healthz HTTP/1.1", ""), 200),
        (
            "empty lines before",
            format!("\r\n\r\n{}", get("GET /healthz HTTP/1.1", "")),
            200,
        ),
        (
            "a body where none belongs",
            get("GET /healthz HTTP/1.1", "content-length: 2\r\n") + "{}",
            200,
        ),
        (
            "a path that is not UTF-8",
            get("GET /api/%ff%00 HTTP/1.1", ""),
            404,
        ),
        (
            "a path that is not UTF-8, with an id",
            get("GET /api/%ff/tasks HTTP/1.1", ""),
            401,
        ),
        (
            "a query that is not UTF-8",
            get("GET /healthz?a=%ff&&== HTTP/1.1", ""),
            200,
        ),
        (
            "a long path",
            get(&format!("GET /{} HTTP/1.1", "x".repeat(40_000)), ""),
            404,
        ),
        (
            "a header that is not UTF-8",
            get("GET /auth/me HTTP/1.1", "authorization: Bearer \u{e9}\r\n"),
            401,
        ),
        (
            "two tokens",
            get(
                "GET /auth/me HTTP/1.1",
                "authorization: Bearer a\r\nauthorization: Bearer b\r\n",
            ),
            401,
        ),
        (
            "many headers",
            get("GET /healthz HTTP/1.1", &"x: y\r\n".repeat(200)),
            431,
        ),
        (
            "a long header",
            get(
                "GET /healthz HTTP/1.1",
                &format!("x: {}\r\n", "y".repeat(200_000)),
            ),
            431,
        ),
        (
            "a header without a name",
            get("GET /healthz HTTP/1.1", ": y\r\n"),
            400,
        ),
        (
            "a header with a space before its colon",
            get("GET /healthz HTTP/1.1", "x : y\r\n"),
            400,
        ),
        (
            "an invalid length",
            get("POST /auth/login HTTP/1.1", "content-length: many\r\n"),
            400,
        ),
        (
            "two lengths",
            get(
                "POST /auth/login HTTP/1.1",
                "content-length: 1\r\ncontent-length: 2\r\n",
            ),
            400,
        ),
        (
            "an unknown version",
            "GET /healthz HTTP/9.9\r\n\r\n".to_owned(),
            400,
        ),
        (
            "a greeting of TLS",
            "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n".to_owned(),
            400,
        ),
        ("noise", "\0\0\0\0\r\n\r\n".to_owned(), 400),
    ];
    for (what, request, status) in cases {
        let response = response_to(&app, request.as_bytes()).await;
        assert_eq!(statuses(&response), [status], "{what}: {response}");
    }
    // HTTP/2 is not supported.
    assert_eq!(response_to(&app, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
    let head = response_to(&app, get("HEAD /healthz HTTP/1.1", "").as_bytes()).await;
    assert!(head.ends_with("\r\n\r\n"), "no body: {head}");
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let (app, user) = app().await;
    // Pipelined.
    let body = r#"{"title":"milk"}"#;
    let first = post(&user, &format!("content-length: {}\r\n", body.len()));
    let second = "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{CLOSE}\r\n");
    let response = response_to(&app, format!("{first}{body}{second}{last}").as_bytes()).await;
    assert_eq!(statuses(&response), [201, 404, 200], "{response}");

    // One after another, then silence until the server closes the connection.
    let mut stream = connect(&app).await;
    for _ in 0..2 {
        stream.write_all(second.as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    }
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn bodies_that_contradict_their_headers_are_rejected() {
    let (app, user) = app().await;
    let body = r#"{"title":"milk"}"#;
    let chunked = "transfer-encoding: chunked\r\n";
    let large = "x".repeat(70_000);
    let cases = [
        (
            "shorter than announced",
            post(&user, "content-length: 100\r\n") + body,
            vec![408],
        ),
        (
            "longer than announced",
            post(&user, "content-length: 5\r\n") + body,
            vec![400, 400],
        ),
        ("nothing", post(&user, CLOSE), vec![400]),
        (
            "too large by its length",
            post(&user, "content-length: 70000\r\n"),
            vec![413],
        ),
        (
            "larger than any",
            post(&user, "content-length: 18446744073709551616\r\n"),
            vec![400],
        ),
        (
            "too large in chunks",
            post(&user, chunked) + &format!("{:x}\r\n{large}\r\n", large.len()),
            vec![413],
        ),
        (
            "a chunk without a size",
            post(&user, chunked) + "many\r\n",
            vec![400],
        ),
        (
            "a chunk cut off",
            post(&user, chunked) + "10\r\n{\"title\"",
            vec![408],
        ),
        (
            "an unknown encoding",
            post(&user, "transfer-encoding: gzip\r\n") + body,
            vec![400],
        ),
    ];
    for (what, request, expected) in cases {
        let response = response_to(&app, request.as_bytes()).await;
        assert_eq!(statuses(&response), expected, "{what}: {response}");
    }
    assert_eq!(user.get("/tasks").await.body["total"], 0);

    // One byte per chunk: slow, but within the time limit.
    let bytes: Vec<_> = body.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let response = response_to(
        &app,
        (post(&user, &format!("{chunked}{CLOSE}")) + &bytes.concat() + "0\r\n\r\n").as_bytes(),
    )
    .await;
    assert_eq!(statuses(&response), [201], "{response}");
}

#[tokio::test]
async fn a_body_is_only_requested_from_authorized_callers() {
    let (app, user) = app().await;
    let body = r#"{"title":"milk"}"#;
    let expect = format!(
        "expect: 100-continue\r\ncontent-length: {}\r\n{CLOSE}",
        body.len()
    );
    let mut stream = connect(&app).await;
    stream.write_all(post(&user, &expect).as_bytes()).await.unwrap();
    let mut response = [0; 25];
    stream.read_exact(&mut response).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    let response = rest(&mut stream).await;
    assert_eq!(statuses(&response), [201], "{response}");

    let mut stranger = user;
    "none".clone_into(&mut stranger.token);
    let response = response_to(&app, post(&stranger, &expect).as_bytes()).await;
    assert_eq!(statuses(&response), [401], "{response}");
}

#[tokio::test]
async fn sending_byte_by_byte_does_not_extend_the_time_limit() {
    let (app, user) = app().await;
    let drip = async |head: String, drip: &str| {
        let (mut from, mut to) = connect(&app).await.into_split();
        to.write_all(head.as_bytes()).await.unwrap();
        let dripping = async {
            // Sends slowly until the server closes the connection.
            while to.write_all(drip.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut response = Vec::new();
        let reading = async {
            let ended = timeout(Duration::from_secs(10), from.read_to_end(&mut response)).await;
            drop(ended.unwrap());
        };
        tokio::select! {
            () = reading => {}
            () = dripping => {}
        }
        String::from_utf8_lossy(&response).into_owned()
    };
    let head = drip("GET /healthz HTTP/1.1\r\nx: ".to_owned(), "y").await;
    assert_ne!(statuses(&head), [200], "{head}");
    let body = drip(post(&user, "content-length: 60000\r\n"), " ").await;
    assert_eq!(statuses(&body), [408], "{body}");
    let chunks = drip(post(&user, "transfer-encoding: chunked\r\n"), "1\r\n \r\n").await;
    assert_eq!(statuses(&chunks), [408], "{chunks}");
}

#[tokio::test]
async fn silent_connections_are_closed_and_free_their_slots() {
    let full = TestApp::builder()
        .workers(0)
        .api("--max-connections=3")
        .api("--http-header-timeout-ms=400")
        .start()
        .await;
    let silent = [
        connect(&full).await,
        connect(&full).await,
        connect(&full).await,
        connect(&full).await,
    ];
    let response = response_to(&full, format!("GET /healthz HTTP/1.1\r\n{CLOSE}\r\n").as_bytes()).await;
    assert_eq!(statuses(&response), [200], "{response}");
    for mut stream in silent {
        assert_eq!(rest(&mut stream).await, "");
    }
}
