//! Limits of HTTP: slow clients, silent clients and too many connections.

use std::time::Duration;

use errand_testkit::{Reply, TestApp};
use reqwest::Method;
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
async fn read_to_end(mut stream: TcpStream) -> String {
    let mut words = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut words))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&words).into_owned()
}

#[tokio::test]
async fn silent_and_slow_connections_are_closed() {
    let app = TestApp::builder()
        .workers(0)
        .api("--http-header-timeout-ms=300")
        .api("--http-body-timeout-ms=300")
        .start()
        .await;
    let user = app.user("Ada").await;

    let silent = connect(&app).await;
    read_to_end(silent).await;

    let mut half_a_head = connect(&app).await;
    half_a_head
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow")
        .await
        .unwrap();
    read_to_end(half_a_head).await;

    let mut half_a_body = connect(&app).await;
    let head = format!(
        "POST /api/{}/chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{\"message\":",
        user.id, user.token
    );
    half_a_body.write_all(head.as_bytes()).await.unwrap();
    let response = read_to_end(half_a_body).await;
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
    assert!(response.contains("application/problem+json"), "{response}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let app = TestApp::builder()
        .workers(0)
        .api("--max-connections=2")
        .start()
        .await;
    let first = connect(&app).await;
    let mut second = connect(&app).await;
    let mut third = connect(&app).await;
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    third.write_all(ask).await.unwrap();
    second.write_all(ask).await.unwrap();
    drop(first);
    assert!(read_to_end(second).await.starts_with("HTTP/1.1 200"));
    assert!(read_to_end(third).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn every_response_has_a_request_id() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    for (sent, kept) in [
        ("abc-123", true),
        (&"x".repeat(128), true),
        (&"x".repeat(129), false),
        ("a b", false),
    ] {
        for request in [
            app.http().get(format!("{}/healthz", app.url())),
            app.http().get(format!("{}/nowhere", app.url())),
            user.request(Method::POST, "/chat")
                .header("content-type", "application/json")
                .body("{"),
        ] {
            let reply = Reply::read(request.header("x-request-id", sent)).await;
            let id = reply.headers["x-request-id"].to_str().unwrap();
            assert_eq!(id == sent, kept, "{sent}: {id}");
            assert!(!id.is_empty());
        }
    }
}

#[tokio::test]
async fn the_api_documentation_is_served_and_complete() {
    let app = TestApp::builder().workers(0).start().await;
    let document = Reply::read(app.http().get(format!("{}/openapi.json", app.url()))).await;
    assert_eq!(document.status, 200);
    assert!(document.text("openapi").starts_with("3.1"));
    let paths = document.body["paths"].as_object().unwrap();
    for path in [
        "/auth/register",
        "/auth/login",
        "/auth/refresh",
        "/auth/logout",
        "/auth/me",
        "/api/{user_id}/chat",
        "/api/{user_id}/runs/{run_id}",
        "/api/{user_id}/runs/{run_id}/cancel",
        "/api/{user_id}/runs/{run_id}/retry",
        "/api/{user_id}/conversations",
        "/api/{user_id}/conversations/{conversation_id}",
        "/api/{user_id}/conversations/{conversation_id}/messages",
        "/api/{user_id}/tasks",
        "/api/{user_id}/tasks/{task_id}",
        "/healthz",
        "/readyz",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let statuses = &paths["/api/{user_id}/chat"]["post"]["responses"];
    for status in [
        "200", "202", "400", "401", "403", "404", "409", "413", "415", "422", "429", "502", "503",
    ] {
        assert!(statuses.get(status).is_some(), "{status}");
    }
    let page = app
        .http()
        .get(format!("{}/docs", app.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(!page.contains("https://"), "{page}");
}
