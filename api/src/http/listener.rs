//! Connections: accepted up to a cap, with time limits on what they send, ended gracefully.

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

/// Connections that the kernel may hold before they are accepted.
const BACKLOG: u32 = 4096;

/// A connection's place among those that may be open at once, held by whatever it becomes.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "it only needs to be held")]
pub(crate) struct Place(Arc<(OwnedSemaphorePermit, Held)>);

/// The bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once, at most; more wait in the kernel.
    pub(crate) connections: usize,
    /// How long a request's head may take, the idle time before it included.
    pub(crate) header_timeout: Duration,
    /// How long what was sent may stay unread: a reader that is stuck would keep its place for ever.
    pub(crate) unread_timeout: Duration,
    /// How long requests may go on after the process was asked to stop.
    pub(crate) grace: Duration,
}

/// Opens a listener.
///
/// # Errors
/// If the address can't be had.
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

/// Serves until the process stops, then until what is under way has ended or the grace time has.
/// `open` shows how many connections there are.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    open: Gauge,
    lifecycle: Lifecycle,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let connections = tokio_util::task::TaskTracker::new();
    // HTTP/1 alone: hyper-util's builder for both takes HTTP/2 as well as soon as upgrades are asked for.
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(64 * 1024);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places, bounds.unread_timeout) => accepted,
            () = lifecycle.stopped() => break,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let place = Place(Arc::new((place, Held::new(&open))));
        let layers = (Extension(ConnectInfo(peer)), Extension(place.clone()));
        let service = TowerToHyperService::new(layers.layer(router.clone()));
        let (http, stopping) = (http.clone(), lifecycle.token());
        connections.spawn(async move {
            // hyper's time limit begins with the first byte.
            let mut byte = [0];
            let first_byte = tokio::time::timeout(bounds.header_timeout, stream.peek(&mut byte));
            match stopping.run_until_cancelled(first_byte).await {
                Some(Ok(Ok(1..))) => {}
                _ => return,
            }
            let mut connection = pin!(
                http.serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
            );
            let ended = if let Some(ended) = stopping.run_until_cancelled(connection.as_mut()).await {
                ended
            } else {
                connection.as_mut().graceful_shutdown();
                connection.await
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended badly");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(bounds.grace, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(open = connections.len(), "connections did not end in time");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    unread_timeout: Duration,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(unread_timeout)) {
                tracing::debug!(%error, "TCP_USER_TIMEOUT");
            }
            Some((stream, peer, place))
        }
        Err(error) => {
            // Out of files, most likely: others must end first.
            tracing::warn!(%error, "a connection could not be accepted");
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
    async fn a_connection_that_reads_nothing_is_given_up() {
        let (begun, mut bodies) = mpsc::channel(1);
        // Ends never, and knows when nobody wants more of it.
        let endless = async move || {
            let (open, closed) = oneshot::channel::<Infallible>();
            begun.send(closed).await.unwrap();
            let body = stream::repeat_with(move || {
                let _open = &open;
                Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16_384]))
            });
            Body::from_stream(body)
        };
        let router = Router::new().route("/", get(endless));
        let bounds = Bounds {
            connections: 2,
            header_timeout: Duration::from_secs(5),
            unread_timeout: Duration::from_secs(1),
            grace: Duration::from_secs(1),
        };
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let lifecycle = Lifecycle::new();
        let serving = serve(listener, router, bounds, Gauge::default(), lifecycle.clone());
        let stuck = async {
            let mut stuck = TcpStream::connect(address).await.unwrap();
            stuck
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                .await
                .unwrap();
            let closed = bodies.recv().await.unwrap();
            let given_up = tokio::time::timeout(Duration::from_secs(30), closed).await;
            assert!(given_up.is_ok(), "the body is still wanted");
            lifecycle.stop();
            stuck
        };
        tokio::join!(serving, stuck);
    }
}
