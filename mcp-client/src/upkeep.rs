//! Keeps a server connected: connects on first use, lists its tools, and reconnects with back-off.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use errand_shared::service::telemetry::error_chain;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{ConnectError, Connection},
    server::{Calls, Live, Server, State},
    text,
};

/// Delay between attempts to connect: minimum and maximum.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// After a connection that lasted at least this long, the server reconnects without a delay.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Minimum interval between listings of the tools, however often the server reports changes.
const RELIST_INTERVAL: Duration = Duration::from_secs(1);
/// How long a connection that a call found broken stays open for the responses of other calls.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum length of a logged error in bytes.
const MAX_LOGGED_BYTES: usize = 500;

impl Server {
    /// Maintains a connection from the first use until shutdown.
    pub(crate) async fn maintain(self: Arc<Self>, stop: CancellationToken) {
        let connection_loop = async {
            self.first_use.notified().await;
            let mut delays = delays();
            let mut is_promising = true;
            loop {
                self.state.send_replace(State::Connecting { is_promising });
                is_promising = match self.connect().await {
                    Some((connection, live)) => self.supervise(connection, live, &stop).await,
                    None => false,
                };
                if stop.is_cancelled() {
                    return;
                }
                if is_promising {
                    delays = self::delays();
                } else {
                    self.state.send_replace(State::Down);
                    sleep(delays.next().unwrap_or(BACKOFF.1)).await;
                }
            }
        };
        // On shutdown, `supervise` closes an open connection. Other states need no clean-up.
        tokio::pin!(connection_loop);
        tokio::select! {
            () = &mut connection_loop => {}
            () = stop.cancelled() => {
                if matches!(*self.state.borrow(), State::Ready(_)) {
                    connection_loop.await;
                }
            }
        }
        self.state.send_replace(State::Stopped);
    }

    async fn connect(&self) -> Option<(Connection, Arc<Live>)> {
        match timeout(self.config.connect_timeout, self.open()).await {
            Ok(Ok(opened)) => {
                self.metrics.connects.inc();
                let tools = opened.1.listing.tools().len();
                tracing::info!(mcp.server = self.name(), tools, "connected to MCP server");
                return Some(opened);
            }
            Ok(Err(error)) => {
                let error = text::line(&error_chain(&error), MAX_LOGGED_BYTES);
                tracing::warn!(mcp.server = self.name(), error, "cannot connect to MCP server");
            }
            Err(_elapsed) => {
                let error = "timed out";
                tracing::warn!(mcp.server = self.name(), error, "cannot connect to MCP server");
            }
        }
        self.metrics.connect_failures.inc();
        None
    }

    async fn open(&self) -> Result<(Connection, Arc<Live>), ConnectError> {
        let connection = Connection::open(&self.config, &self.link).await?;
        let live = self.list_tools(&connection, Calls::default()).await?;
        Ok((connection, live))
    }

    async fn list_tools(&self, connection: &Connection, calls: Calls) -> Result<Arc<Live>, ConnectError> {
        let listing = connection.list(&self.config).await?;
        Ok(Arc::new(Live {
            listing: Arc::new(listing),
            peer: connection.peer(),
            calls,
        }))
    }

    /// Keeps the listing of a connection up to date until the connection ends. Returns whether a new connection is promising: this one
    /// was stable, or it worked until a call found that the server had lost it.
    async fn supervise(&self, connection: Connection, mut live: Arc<Live>, stop: &CancellationToken) -> bool {
        let since = Instant::now();
        let mut listed = since;
        self.metrics.connected.set(1);
        let calls = live.calls.clone();
        loop {
            let tools = live.listing.tools().len();
            self.metrics.tools.set(i64::try_from(tools).unwrap_or(i64::MAX));
            self.state.send_replace(State::Ready(Arc::clone(&live)));
            tokio::select! {
                () = stop.cancelled() => break,
                () = calls.broken.cancelled() => break,
                () = connection.closed() => break,
                () = connection.tools_changed() => {}
            }
            if stop
                .run_until_cancelled(sleep_until(listed + RELIST_INTERVAL))
                .await
                .is_none()
            {
                break;
            }
            listed = Instant::now();
            match timeout(
                self.config.connect_timeout,
                self.list_tools(&connection, calls.clone()),
            )
            .await
            {
                Ok(Ok(relisted)) => live = relisted,
                _ => break,
            }
        }
        let stopping = stop.is_cancelled();
        let was_broken = calls.broken.is_cancelled();
        let is_promising = was_broken || since.elapsed() >= STABLE_AFTER;
        self.state.send_replace(match (stopping, is_promising) {
            (true, _) => State::Stopped,
            (false, true) => State::Connecting { is_promising },
            (false, false) => State::Down,
        });
        self.metrics.connected.set(0);
        self.metrics.tools.set(0);
        if !stopping {
            tracing::warn!(mcp.server = self.name(), "lost connection to MCP server");
        }
        drop(live);
        if was_broken && !stopping {
            calls.in_progress.close();
            if timeout(DRAIN_TIMEOUT, calls.in_progress.wait()).await.is_err() {
                tracing::debug!(mcp.server = self.name(), "closing the connection during a call");
            }
        }
        connection.close().await;
        is_promising
    }
}

/// The delays between consecutive failed attempts.
fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF.0)
        .with_max_delay(BACKOFF.1)
        .without_max_times()
        .with_jitter()
        .build()
}
