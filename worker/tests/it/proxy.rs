//! A proxy in front of Postgres that loses the response to a chosen statement after the statement has been executed.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

/// How a response is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The connection breaks.
    Break,
    /// The connection stays open, but nothing more is sent.
    Silence,
}

/// A proxy in front of a server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: String,
    connections: TaskTracker,
    /// The bytes that identify the request whose response is lost, and how. Reset by the first such request.
    marker: Mutex<Option<(Vec<u8>, Loss)>>,
}

impl Proxy {
    pub(crate) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            server,
            connections: TaskTracker::new(),
            marker: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        state.connections.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&accepting);
                accepting
                    .connections
                    .spawn(async move { state.forward(client).await });
            }
        });
        Self { address, state }
    }

    /// Loses the response, and with it the connection, to the next request that contains `marker`.
    pub(crate) fn lose_response_to(&self, marker: impl AsRef<[u8]>, loss: Loss) {
        *self.state.marker.lock().unwrap() = Some((marker.as_ref().to_vec(), loss));
    }

    /// Whether the response has been lost.
    pub(crate) fn has_lost_response(&self) -> bool {
        self.state.marker.lock().unwrap().is_none()
    }
}

impl State {
    async fn forward(&self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(&self.server).await else {
            return;
        };
        let (mut up, mut down) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
        loop {
            tokio::select! {
                // When the client disconnects, so must the proxy: a backend that waits in its authentication would block every
                // DROP DATABASE for a minute.
                read = client.read(&mut up) => {
                    let Ok(read @ 1..) = read else { return };
                    let loss = self.loss_of(&up[..read]);
                    if server.write_all(&up[..read]).await.is_err() {
                        return;
                    }
                    if let Some(loss) = loss {
                        // The first byte of the response shows that the statement was executed.
                        drop(server.read(&mut down).await);
                        if loss == Loss::Silence {
                            drop(tokio::io::copy(&mut client, &mut tokio::io::sink()).await);
                        }
                        return;
                    }
                }
                read = server.read(&mut down) => {
                    let Ok(read @ 1..) = read else { return };
                    if client.write_all(&down[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn loss_of(&self, request: &[u8]) -> Option<Loss> {
        let mut marker = self.marker.lock().unwrap();
        let contains = |(bytes, _): &mut (Vec<u8>, Loss)| {
            request
                .windows(bytes.len())
                .any(|window| window == bytes.as_slice())
        };
        marker.take_if(contains).map(|(_, loss)| loss)
    }
}
