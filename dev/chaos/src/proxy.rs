//! A way to a server that can be slow, break, or lose answers.

use std::{net::SocketAddr, time::Duration};

use errand_shared::service::lifecycle::Lifecycle;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::Result;

/// How the way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As if it were not there.
    Pass,
    /// Whatever passes is late by so much.
    Slow(Duration),
    /// All connections break, and new ones too.
    Reset,
    /// What is asked arrives, and what is answered does not.
    LoseAnswers,
}

/// A proxy in front of a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// Listens on a port of its own, in front of a port on 127.0.0.1.
    pub(crate) async fn start(server: u16, lifecycle: &Lifecycle) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::Pass);
        let modes = mode.clone();
        let tracker = lifecycle.clone();
        lifecycle.spawn_until_stopped(async move {
            loop {
                // A fault of accept concerns one caller.
                if let Ok((client, _)) = listener.accept().await {
                    let modes = modes.subscribe();
                    tracker.spawn_until_stopped(async move {
                        // A broken connection is what a proxy is for.
                        drop(pass_on(client, server, modes).await);
                    });
                }
            }
        });
        Ok(Self { address, mode })
    }

    /// Changes the way.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
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
                late(mode).await;
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
                late(mode).await;
                client.write_all(down.get(..read).unwrap_or_default()).await?;
            }
            changed = modes.changed() => {
                let mode = *modes.borrow_and_update();
                // What has lost bytes is never whole again.
                if changed.is_err() || mode == Mode::Reset || (has_lost && mode != Mode::LoseAnswers) {
                    return Ok(());
                }
            }
        }
    }
}

async fn late(mode: Mode) {
    if let Mode::Slow(time) = mode {
        tokio::time::sleep(time).await;
    }
}
