//! A way to Postgres that breaks at a chosen moment: after a statement has been done, before its answer has arrived.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::TaskTracker;

/// How an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The connection breaks.
    Break,
    /// The connection stays open, and nothing comes any more.
    Silence,
}

/// A proxy in front of a server.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: String,
    connections: TaskTracker,
    /// What a request must contain to lose its answer, and how it loses it; used up by the first.
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
                    .spawn(async move { state.pass_on(client).await });
            }
        });
        Self { address, state }
    }

    /// The next request that contains `marker` is done and its answer lost, with its connection.
    pub(crate) fn lose_the_answer_to(&self, marker: impl AsRef<[u8]>, loss: Loss) {
        *self.state.marker.lock().unwrap() = Some((marker.as_ref().to_vec(), loss));
    }

    /// Whether an answer has been lost since it was last asked for.
    pub(crate) fn has_lost(&self) -> bool {
        self.state.marker.lock().unwrap().is_none()
    }
}

impl State {
    async fn pass_on(&self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(&self.server).await else {
            return;
        };
        let (mut up, mut down) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
        loop {
            tokio::select! {
                // Its end ends the server's side too: a backend left in the middle of its authentication would hold up
                // every DROP DATABASE of the server for a minute.
                read = client.read(&mut up) => {
                    let Ok(read @ 1..) = read else { return };
                    let loss = self.loss_of(&up[..read]);
                    if server.write_all(&up[..read]).await.is_err() {
                        return;
                    }
                    if let Some(loss) = loss {
                        // Its first byte says that it was done.
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
