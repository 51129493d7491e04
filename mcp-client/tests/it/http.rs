//! Servers over HTTP: sessions that are lost, restarts, and servers without a stream.

use std::time::Duration;

use errand_shared::domain::agents::McpTransport;
use errand_testkit::{LostSession, McpFixture, eventually};
use futures::future::join_all;
use serde_json::json;
use tokio::{net::TcpStream, time::Instant};

use crate::fixture::Fixture;

fn connect(shop: &McpFixture) -> Fixture {
    Fixture::new(McpTransport::Http {
        url: shop.url(),
        headers: Vec::new(),
        allow_private: true,
    })
}

#[tokio::test]
async fn call_is_made_again_after_its_session_was_lost() {
    for form in [
        LostSession::NotFound,
        LostSession::BadRequest,
        LostSession::PlainText,
        LostSession::Error,
    ] {
        let shop = McpFixture::start();
        let fixture = connect(&shop);
        let pay = json!({"amount": 1});
        assert!(fixture.call("pay", &pay).await.success);
        shop.forget_sessions(form);
        let outcomes = join_all([fixture.call("pay", &pay), fixture.call("pay", &pay)]).await;
        for outcome in outcomes {
            assert!(outcome.success, "{form:?}: {:?}", outcome.result);
        }
        assert_eq!(shop.effects().len(), 3, "{form:?}");
        fixture.shut_down().await;
    }
}

#[tokio::test]
async fn refused_call_is_made_after_the_restart() {
    let mut shop = McpFixture::start();
    let fixture = connect(&shop);
    let arguments = json!({"amount": 1});
    let call = fixture.server().prepare("s__pay", arguments.as_object().unwrap());
    let call = call.await.unwrap();
    let address = shop.url().replace("http://", "").replace("/mcp", "");
    shop.kill();
    eventually("the port is closed", || async {
        TcpStream::connect(&address).await.is_err()
    })
    .await;
    let restart = async {
        eventually("the lost connection is noticed", || async {
            fixture.server().listing().await.is_none()
        })
        .await;
        shop.restart().await;
        shop
    };
    let until = Instant::now() + Duration::from_secs(30);
    let (outcome, shop) = tokio::join!(call.make("key", until), restart);
    assert!(outcome.success, "{:?}", outcome.result);
    assert_eq!(shop.effects().len(), 1);
    fixture.shut_down().await;
}

#[tokio::test]
async fn server_without_a_stream_is_used() {
    for status in [404, 405] {
        let shop = McpFixture::start();
        shop.without_stream(status);
        let fixture = connect(&shop);
        for _ in 0..2 {
            assert!(
                fixture.call("put", &json!({"amount": 1})).await.success,
                "{status}"
            );
        }
        let text = fixture.metrics.text().unwrap();
        let opened = "errand_mcp_connections_total{server=\"s\",outcome=\"opened\"} 1\n";
        assert!(text.contains(opened), "{status}: {text}");
        fixture.shut_down().await;
    }
}

#[tokio::test]
async fn server_without_sessions_answers_in_json() {
    let mut shop = McpFixture::start_without_sessions();
    let fixture = connect(&shop);
    let put = json!({"amount": 1});
    assert!(fixture.call("put", &put).await.success);
    // A restart goes unnoticed.
    shop.kill();
    shop.restart().await;
    assert!(fixture.call("put", &put).await.success);
    let text = fixture.metrics.text().unwrap();
    let opened = "errand_mcp_connections_total{server=\"s\",outcome=\"opened\"} 1\n";
    assert!(text.contains(opened), "{text}");
    let requests = shop.requests();
    assert!(
        requests
            .iter()
            .all(|headers| !headers.contains_key("mcp-session-id"))
    );
    fixture.shut_down().await;
}
