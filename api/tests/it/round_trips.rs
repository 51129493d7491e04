//! The number of round trips to Postgres per chat, counted by a proxy.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use errand_testkit::{TestApp, database_url};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A proxy for Postgres that counts the messages for which a client waits: `Sync` and simple queries.
struct Counter {
    url: String,
    round_trips: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

impl Counter {
    async fn start() -> Self {
        let mut url = reqwest::Url::parse(&database_url()).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        url.set_path("");
        let round_trips = Arc::new(AtomicU64::new(0));
        let mut serving = JoinSet::new();
        let counted = Arc::clone(&round_trips);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
                connections.spawn(relay(client, server, Arc::clone(&counted)));
            }
        });
        Self {
            url: format!("{url}/{{}}"),
            round_trips,
            _serving: serving,
        }
    }
}

async fn relay(client: TcpStream, server: TcpStream, round_trips: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    let forth = async {
        // The startup message has no type byte.
        let mut greeting = true;
        while let Some((kind, message)) = message(&mut from_client, greeting).await {
            greeting = false;
            if matches!(kind, b'S' | b'Q') {
                round_trips.fetch_add(1, Ordering::SeqCst);
            }
            to_server.write_all(&message).await.unwrap();
        }
    };
    tokio::select! { _ = back => {}, () = forth => {} }
}

/// The next message of the protocol, with its type.
async fn message(from: &mut (impl AsyncRead + Unpin), greeting: bool) -> Option<(u8, Vec<u8>)> {
    let mut message = vec![0; if greeting { 4 } else { 5 }];
    from.read_exact(&mut message).await.ok()?;
    let kind = if greeting { 0 } else { message[0] };
    let length = u32::from_be_bytes(message[message.len() - 4..].try_into().unwrap()) as usize;
    let head = message.len();
    message.resize(head + length - 4, 0);
    from.read_exact(&mut message[head..]).await.ok()?;
    Some((kind, message))
}

#[tokio::test]
async fn a_chat_with_one_tool_call_takes_seven_round_trips() {
    let counter = Counter::start().await;
    // No other queries may run while a chat is counted, and all statements are prepared beforehand.
    let app = TestApp::builder()
        .database_url(&counter.url)
        .api("--database-pool-size=1")
        .api("--wait-sweep-ms=600000")
        .api("--max-queued-runs=0")
        .worker("--database-pool-size=1")
        .worker("--heartbeat-ms=600000")
        .worker("--worker-dead-after-ms=1200000")
        .worker("--rescue-interval-ms=600000")
        .start()
        .await;
    let user = app.user("Ada").await;
    for _ in 0..8 {
        assert_eq!(user.chat("Add a task to buy milk").await.tools(), ["add_task"]);
    }
    let before = counter.round_trips.load(Ordering::SeqCst);
    let chat = user.chat("Add a task to buy milk").await;
    let after = counter.round_trips.load(Ordering::SeqCst);
    assert_eq!(chat.tools(), ["add_task"]);
    assert_eq!(after - before, 7);
}
