//! One MCP server: connects on first use and reconnects with back-off.

use std::{error::Error, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use errand_shared::{
    domain::agents::{ApprovalPolicy, McpServer, McpTransport},
    service::{config::Exit, lifecycle::Lifecycle},
};
use rmcp::{Peer, RoleClient};
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    call::ReadyCall,
    connection::{ConnectError, Connection, Link},
    http,
    listing::Listing,
    metrics::{CallResult, McpMetrics, ServerMetrics},
    outcome::{Code, Outcome},
    text,
};

/// Delay between attempts to connect: minimum and maximum.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// After a connection that lasted at least this long, the server reconnects without a delay.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Minimum interval between listings of the tools, however often the server reports changes.
const RELIST_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum length of a logged error in bytes.
const MAX_LOGGED_BYTES: usize = 500;

/// An MCP server, shared by all runs of a worker.
#[derive(Debug)]
pub struct Server {
    pub(crate) config: McpServer,
    link: Link,
    state: watch::Sender<State>,
    /// Notified on first use.
    first_use: Notify,
    /// Limits concurrent calls.
    pub(crate) call_permits: Semaphore,
    pub(crate) metrics: ServerMetrics,
}

/// The state of the connection.
#[derive(Clone, Debug)]
enum State {
    /// Not used yet.
    Idle,
    Connecting {
        /// Whether the connection is likely to succeed, so that callers should wait for it. False after a failure.
        is_promising: bool,
    },
    Ready(Arc<Live>),
    /// Failed. Another attempt follows.
    Down,
    /// The worker is shutting down.
    Stopped,
}

/// A connected server.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) listing: Arc<Listing>,
    pub(crate) peer: Peer<RoleClient>,
    /// Cancelled by a call that finds the connection broken.
    pub(crate) broken: CancellationToken,
}

impl Server {
    /// Prepares a server that connects on first use and stops with the lifecycle.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub(crate) fn start(
        config: &McpServer,
        lifecycle: &Lifecycle,
        metrics: &McpMetrics,
    ) -> Result<Arc<Self>, Exit> {
        let link = match &config.transport {
            McpTransport::Http {
                url,
                headers,
                allow_private,
            } => {
                let client = http::client(url, headers, *allow_private, config.connect_timeout);
                let invalid = |error| {
                    Exit::bad_setting("AGENTS_FILE", format!("mcp_servers: {}: {error}", config.name))
                };
                Link::Http(client.map_err(invalid)?)
            }
            McpTransport::Stdio { .. } => Link::Stdio(lifecycle.clone()),
        };
        let server = Arc::new(Self {
            link,
            state: watch::Sender::new(State::Idle),
            first_use: Notify::new(),
            call_permits: Semaphore::new(config.max_concurrent_calls),
            metrics: metrics.for_server(&config.name),
            config: config.clone(),
        });
        lifecycle.spawn(Arc::clone(&server).maintain(lifecycle.token()));
        Ok(server)
    }

    /// The server's name in the agents file.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The available tools. Waits up to the connect timeout for a connection that is being established. Returns `None` if there
    /// is no connection, immediately if the last attempt failed.
    pub async fn listing(&self) -> Option<Arc<Listing>> {
        self.live().await.map(|live| Arc::clone(&live.listing))
    }

    /// Prepares a call without contacting the tool.
    ///
    /// # Errors
    /// The outcome of the call if it can't be made: the server is unreachable, the tool is missing, or the arguments don't
    /// match its schema.
    pub async fn prepare(
        self: &Arc<Self>,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ReadyCall, Outcome> {
        let Some(live) = self.live().await else {
            self.metrics.called(CallResult::Unavailable);
            return Err(Outcome::failure(
                Code::Unavailable,
                &format!(
                    "The server {} can't be reached at the moment. Nothing was done.",
                    self.name()
                ),
            ));
        };
        let Some(tool) = live.listing.find(tool).cloned() else {
            self.metrics.called(CallResult::Unavailable);
            return Err(Outcome::failure(
                Code::Unavailable,
                &format!(
                    "The server {} doesn't have this tool. Nothing was done.",
                    self.name()
                ),
            ));
        };
        if let Some(errors) = tool.schema.errors(&Value::Object(arguments.clone())) {
            self.metrics.called(CallResult::Failed);
            return Err(Outcome::failure(
                Code::Invalid,
                &format!("Invalid arguments: {errors}. Nothing was done."),
            ));
        }
        Ok(ReadyCall::new(Arc::clone(self), live, tool, arguments.clone()))
    }

    /// Whether a call of this tool needs the user's approval. A tool that is not available at the moment does, unless no tool
    /// of the server does.
    pub fn needs_approval(&self, tool: &str) -> bool {
        if self.config.approve == ApprovalPolicy::Never {
            return false;
        }
        match &*self.state.borrow() {
            State::Ready(live) => live.listing.find(tool).is_none_or(|tool| tool.needs_approval),
            _ => true,
        }
    }

    async fn live(&self) -> Option<Arc<Live>> {
        let mut states = self.state.subscribe();
        match &*states.borrow() {
            State::Ready(live) => return Some(Arc::clone(live)),
            State::Down | State::Stopped | State::Connecting { is_promising: false } => return None,
            State::Idle => self.first_use.notify_one(),
            State::Connecting { is_promising: true } => {}
        }
        let settled =
            states.wait_for(|state| !matches!(state, State::Idle | State::Connecting { is_promising: true }));
        match timeout(self.config.connect_timeout, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Ready(live) => Some(Arc::clone(live)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Maintains a connection from the first use until shutdown.
    async fn maintain(self: Arc<Self>, stop: CancellationToken) {
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
                let error = text::line(&chain(&error), MAX_LOGGED_BYTES);
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
        let live = self.list_tools(&connection, CancellationToken::new()).await?;
        Ok((connection, live))
    }

    async fn list_tools(
        &self,
        connection: &Connection,
        broken: CancellationToken,
    ) -> Result<Arc<Live>, ConnectError> {
        let listing = connection.list(&self.config).await?;
        Ok(Arc::new(Live {
            listing: Arc::new(listing),
            peer: connection.peer(),
            broken,
        }))
    }

    /// Keeps the listing of a connection up to date until the connection ends. Returns whether the connection was stable.
    async fn supervise(&self, connection: Connection, mut live: Arc<Live>, stop: &CancellationToken) -> bool {
        let since = Instant::now();
        let mut listed = since;
        self.metrics.connected.set(1);
        let broken = live.broken.clone();
        loop {
            let tools = live.listing.tools().len();
            self.metrics.tools.set(i64::try_from(tools).unwrap_or(i64::MAX));
            self.state.send_replace(State::Ready(Arc::clone(&live)));
            tokio::select! {
                () = stop.cancelled() => break,
                () = broken.cancelled() => break,
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
                self.list_tools(&connection, broken.clone()),
            )
            .await
            {
                Ok(Ok(relisted)) => live = relisted,
                _ => break,
            }
        }
        let stopping = stop.is_cancelled();
        self.state
            .send_replace(if stopping { State::Stopped } else { State::Down });
        self.metrics.connected.set(0);
        self.metrics.tools.set(0);
        if !stopping {
            tracing::warn!(mcp.server = self.name(), "lost connection to MCP server");
        }
        drop(live);
        connection.close().await;
        since.elapsed() >= STABLE_AFTER
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

/// The texts of an error and its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
