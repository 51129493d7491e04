//! Accepts connections up to a limit, enforces time limits on them, and closes them gracefully.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use errand_shared::service::{
    lifecycle::Lifecycle,
    metrics::{Gauge, Held},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Layer;

use super::lingering::Lingering;

/// Connections that the kernel queues before they are accepted.
const BACKLOG: u32 = 4096;

/// A permit for one open connection. A WebSocket keeps the permit of its connection.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "holding it keeps the slot")]
pub(crate) struct ConnectionSlot(Arc<(OwnedSemaphorePermit, Held)>);

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerLimits {
    /// The maximum number of open connections. Further connections wait in the kernel.
    pub(crate) connections: usize,
    /// How long the head of a request may take to arrive, including idle time before it.
    pub(crate) header_timeout: Duration,
    /// How long sent data may stay unacknowledged. Without this limit a stuck client would keep its connection forever.
    pub(crate) unread_timeout: Duration,
    /// How long open requests may continue after a shutdown began.
    pub(crate) grace: Duration,
}

/// Binds an address.
///
/// # Errors
/// If the address is unavailable.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until a shutdown begins, then until all connections are closed or the grace period is over. The gauge `open` shows
/// the number of open connections.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ListenerLimits,
    open: Gauge,
    lifecycle: Lifecycle,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = tokio_util::task::TaskTracker::new();
    // HTTP/1 only: with upgrades, hyper-util's automatic builder would also accept HTTP/2.
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(64 * 1024);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots, limits.unread_timeout) => accepted,
            () = lifecycle.stopped() => break,
        };
        let Some((stream, peer, permit)) = accepted else {
            continue;
        };
        let slot = ConnectionSlot(Arc::new((permit, Held::new(&open))));
        let layers = (Extension(ConnectInfo(peer)), Extension(slot.clone()));
        let service = TowerToHyperService::new(layers.layer(router.clone()));
        let (http, stopping) = (http.clone(), lifecycle.token());
        connections.spawn(async move {
            // hyper's own time limit starts with the first byte.
            let mut byte = [0];
            let first_byte = tokio::time::timeout(limits.header_timeout, stream.peek(&mut byte));
            match stopping.run_until_cancelled(first_byte).await {
                Some(Ok(Ok(1..))) => {}
                _ => return,
            }
            let mut connection = pin!(
                http.serve_connection(TokioIo::new(Lingering::new(stream)), service)
                    .with_upgrades()
            );
            let ended = if let Some(ended) = stopping.run_until_cancelled(connection.as_mut()).await {
                ended
            } else {
                connection.as_mut().graceful_shutdown();
                connection.await
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection failed");
            }
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.grace, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            open = connections.len(),
            "grace period is over; closing open connections"
        );
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    unread_timeout: Duration,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(unread_timeout)) {
                tracing::debug!(%error, "TCP_USER_TIMEOUT");
            }
            Some((stream, peer, permit))
        }
        Err(error) => {
            // Most likely the process has no file descriptors left.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{
        body::{Body, Bytes},
        routing::get,
    };
    use futures::stream;
    use tokio::{
        io::AsyncWriteExt,
        sync::{mpsc, oneshot},
    };

    use super::*;

    #[tokio::test]
    async fn a_connection_that_reads_nothing_is_closed() {
        let (started, mut bodies) = mpsc::channel(1);
        // The body never ends; `closed` resolves when it is dropped.
        let endless = async move || {
            let (open, closed) = oneshot::channel::<Infallible>();
            started.send(closed).await.unwrap();
            let body = stream::repeat_with(move || {
                let _open = &open;
                Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16_384]))
            });
            Body::from_stream(body)
        };
        let router = Router::new().route("/", get(endless));
        let limits = ListenerLimits {
            connections: 2,
            header_timeout: Duration::from_secs(5),
            unread_timeout: Duration::from_secs(1),
            grace: Duration::from_secs(1),
        };
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let lifecycle = Lifecycle::new();
        let serving = serve(listener, router, limits, Gauge::default(), lifecycle.clone());
        let stuck = async {
            let mut stuck = TcpStream::connect(address).await.unwrap();
            stuck
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                .await
                .unwrap();
            let closed = bodies.recv().await.unwrap();
            let dropped = tokio::time::timeout(Duration::from_secs(30), closed).await;
            assert!(dropped.is_ok(), "the body is still being sent");
            lifecycle.stop();
            stuck
        };
        tokio::join!(serving, stuck);
    }
}
