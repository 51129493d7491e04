//! A TCP proxy that can be slow, break connections, or lose answers.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::Result;

/// What the proxy does with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes data on.
    Pass,
    /// Delays data.
    Slow(Duration),
    /// Breaks all connections, also new ones.
    Reset,
    /// Passes requests on and discards answers.
    LoseAnswers,
}

/// A proxy in front of a server. Dropping it breaks its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    server: u16,
    mode: watch::Sender<Mode>,
    _stop: DropGuard,
}

impl Proxy {
    /// Listens on a free port, for a server on a port of 127.0.0.1.
    pub(crate) async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::Pass);
        let modes = mode.clone();
        let stop = CancellationToken::new();
        let connections_stop = stop.clone();
        let tasks = TaskTracker::new();
        let connections = tasks.clone();
        let accept = async move {
            loop {
                // An error of accept concerns one client only.
                if let Ok((client, _)) = listener.accept().await {
                    let modes = modes.subscribe();
                    let stop = connections_stop.clone();
                    connections.spawn(async move {
                        // A broken connection is what the proxy is for.
                        drop(stop.run_until_cancelled(pass_on(client, server, modes)).await);
                    });
                }
            }
        };
        let until_stopped = stop.clone();
        tasks.spawn(async move { until_stopped.run_until_cancelled(accept).await });
        Ok(Self {
            address,
            server,
            mode,
            _stop: stop.drop_guard(),
        })
    }

    /// Changes what the proxy does.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Replaces the server's address in a URL with that of the proxy.
    pub(crate) fn redirect(&self, url: &str) -> String {
        url.replace(&format!("127.0.0.1:{}", self.server), &self.address.to_string())
    }
}

async fn pass_on(
    mut client: TcpStream,
    server: u16,
    mut modes: watch::Receiver<Mode>,
) -> std::io::Result<()> {
    if *modes.borrow_and_update() == Mode::Reset {
        return Ok(());
    }
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut has_lost = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                let mode = *modes.borrow();
                delay(mode).await;
                server.write_all(up.get(..read).unwrap_or_default()).await?;
            }
            read = server.read(&mut down) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                let mode = *modes.borrow();
                if mode == Mode::LoseAnswers {
                    has_lost = true;
                    continue;
                }
                delay(mode).await;
                client.write_all(down.get(..read).unwrap_or_default()).await?;
            }
            changed = modes.changed() => {
                let mode = *modes.borrow_and_update();
                // A connection that has lost data cannot be used again.
                if changed.is_err() || mode == Mode::Reset || (has_lost && mode != Mode::LoseAnswers) {
                    return Ok(());
                }
            }
        }
    }
}

async fn delay(mode: Mode) {
    if let Mode::Slow(time) = mode {
        tokio::time::sleep(time).await;
    }
}
