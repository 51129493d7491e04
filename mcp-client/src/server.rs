//! One server: connects when it is first wanted, keeps the connection, and comes back by itself.

use std::{error::Error, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use errand_shared::{
    domain::agents::{Consent, McpServer, McpTransport},
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
    connection::{Connection, Link, Unconnected},
    http,
    listing::Listing,
    metrics::{McpMetrics, ServerMetrics},
    outcome::{Code, Outcome},
    text,
};

/// Between two tries to connect: the first wait and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A connection that has lasted so long is followed by the next at once.
const STEADY: Duration = Duration::from_secs(10);
/// From one list of tools to the next, however often the server says that they have changed.
const RELIST: Duration = Duration::from_secs(1);
/// Bytes of a fault in the log.
const FAULT_BYTES: usize = 500;

/// One server, shared by all runs of a worker.
#[derive(Debug)]
pub struct Server {
    pub(crate) config: McpServer,
    link: Link,
    state: watch::Sender<State>,
    wanted: Notify,
    /// For calls, so that no more are under way at once than the operator wants.
    pub(crate) places: Semaphore,
    pub(crate) metrics: ServerMetrics,
}

/// What can be had of a server.
#[derive(Clone, Debug)]
enum State {
    /// Nobody has wanted it yet.
    Idle,
    /// It is being connected to.
    Connecting {
        /// Whether there is reason to hope, so that it is worth waiting.
        is_hopeful: bool,
    },
    /// It is there.
    Ready(Arc<Live>),
    /// It is not; another try follows.
    Down,
    /// This worker has done with it.
    Stopped,
}

/// A server that is there.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) listing: Arc<Listing>,
    pub(crate) peer: Peer<RoleClient>,
    /// Cancelled by whoever finds that the connection is of no use any more.
    pub(crate) broken: CancellationToken,
}

impl Server {
    /// A server that nobody has wanted yet. Ends with the lifecycle.
    ///
    /// # Errors
    /// A bad setting.
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
                let bad =
                    |bad| Exit::bad_setting("AGENTS_FILE", format!("mcp_servers: {}: {bad}", config.name));
                Link::Http(client.map_err(bad)?)
            }
            McpTransport::Stdio { .. } => Link::Stdio(lifecycle.clone()),
        };
        let server = Arc::new(Self {
            link,
            state: watch::Sender::new(State::Idle),
            wanted: Notify::new(),
            places: Semaphore::new(config.max_concurrent_calls),
            metrics: metrics.of(&config.name),
            config: config.clone(),
        });
        lifecycle.spawn(Arc::clone(&server).keep(lifecycle.token()));
        Ok(server)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What it has on offer. Waits for a connection that is being made, at most for the time that connecting may take;
    /// none if there is none, and at once if there is no reason to hope.
    pub async fn listing(&self) -> Option<Arc<Listing>> {
        self.live().await.map(|live| Arc::clone(&live.listing))
    }

    /// Makes a call ready, or says why it can't be made; then nothing was asked of the server.
    ///
    /// # Errors
    /// The outcome to tell instead.
    pub async fn prepare(
        self: &Arc<Self>,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ReadyCall, Outcome> {
        let Some(live) = self.live().await else {
            self.metrics.called(crate::metrics::Went::Unavailable);
            return Err(Outcome::failure(
                Code::Unavailable,
                &format!(
                    "The server {} can't be reached at the moment; nothing was done.",
                    self.name()
                ),
            ));
        };
        let Some(tool) = live.listing.find(tool).cloned() else {
            self.metrics.called(crate::metrics::Went::Unavailable);
            return Err(Outcome::failure(
                Code::Unavailable,
                &format!(
                    "The server {} does not offer this tool; nothing was done.",
                    self.name()
                ),
            ));
        };
        if let Some(faults) = tool.schema.faults(&Value::Object(arguments.clone())) {
            self.metrics.called(crate::metrics::Went::Failed);
            return Err(Outcome::failure(
                Code::Invalid,
                &format!("The arguments do not fit: {faults}. Nothing was done."),
            ));
        }
        Ok(ReadyCall::new(Arc::clone(self), live, tool, arguments.clone()))
    }

    /// Whether a call of this tool needs the user's consent. Of a tool that is not on offer at the moment nobody can tell, and
    /// so it does, unless none of the server's do.
    pub fn needs_consent(&self, tool: &str) -> bool {
        if self.config.approve == Consent::Never {
            return false;
        }
        match &*self.state.borrow() {
            State::Ready(live) => live.listing.find(tool).is_none_or(|tool| tool.needs_consent),
            _ => true,
        }
    }

    async fn live(&self) -> Option<Arc<Live>> {
        let mut states = self.state.subscribe();
        match &*states.borrow() {
            State::Ready(live) => return Some(Arc::clone(live)),
            State::Down | State::Stopped | State::Connecting { is_hopeful: false } => return None,
            State::Idle => self.wanted.notify_one(),
            State::Connecting { is_hopeful: true } => {}
        }
        let settled =
            states.wait_for(|state| !matches!(state, State::Idle | State::Connecting { is_hopeful: true }));
        match timeout(self.config.connect_timeout, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Ready(live) => Some(Arc::clone(live)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Keeps a connection from when one is first wanted until the end.
    async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let ended = async {
            self.wanted.notified().await;
            let mut waits = waits();
            let mut is_hopeful = true;
            loop {
                self.state.send_replace(State::Connecting { is_hopeful });
                is_hopeful = match self.connect().await {
                    Some((connection, live)) => self.attend(connection, live, &stop).await,
                    None => false,
                };
                if stop.is_cancelled() {
                    return;
                }
                if is_hopeful {
                    waits = self::waits();
                } else {
                    self.state.send_replace(State::Down);
                    sleep(waits.next().unwrap_or(BACKOFF.1)).await;
                }
            }
        };
        // What is under way when the end comes is seen to its own end by `attend`; nothing else needs one.
        tokio::pin!(ended);
        tokio::select! {
            () = &mut ended => {}
            () = stop.cancelled() => {
                if matches!(*self.state.borrow(), State::Ready(_)) {
                    ended.await;
                }
            }
        }
        self.state.send_replace(State::Stopped);
    }

    async fn connect(&self) -> Option<(Connection, Arc<Live>)> {
        match timeout(self.config.connect_timeout, self.open()).await {
            Ok(Ok(opened)) => {
                self.metrics.opened.inc();
                let tools = opened.1.listing.tools().len();
                tracing::info!(mcp.server = self.name(), tools, "an MCP server is connected");
                return Some(opened);
            }
            Ok(Err(error)) => {
                let error = text::line(&chain(&error), FAULT_BYTES);
                tracing::warn!(
                    mcp.server = self.name(),
                    error,
                    "an MCP server can't be connected to"
                );
            }
            Err(_elapsed) => {
                let error = "it took too long";
                tracing::warn!(
                    mcp.server = self.name(),
                    error,
                    "an MCP server can't be connected to"
                );
            }
        }
        self.metrics.refused.inc();
        None
    }

    async fn open(&self) -> Result<(Connection, Arc<Live>), Unconnected> {
        let connection = Connection::open(&self.config, &self.link).await?;
        let live = self.look(&connection, CancellationToken::new()).await?;
        Ok((connection, live))
    }

    async fn look(
        &self,
        connection: &Connection,
        broken: CancellationToken,
    ) -> Result<Arc<Live>, Unconnected> {
        let listing = connection.list(&self.config).await?;
        Ok(Arc::new(Live {
            listing: Arc::new(listing),
            peer: connection.peer(),
            broken,
        }))
    }

    /// Stays with a connection until it is over. True if it has lasted.
    async fn attend(&self, connection: Connection, mut live: Arc<Live>, stop: &CancellationToken) -> bool {
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
                () = connection.over() => break,
                () = connection.changed() => {}
            }
            if stop
                .run_until_cancelled(sleep_until(listed + RELIST))
                .await
                .is_none()
            {
                break;
            }
            listed = Instant::now();
            match timeout(
                self.config.connect_timeout,
                self.look(&connection, broken.clone()),
            )
            .await
            {
                Ok(Ok(looked)) => live = looked,
                _ => break,
            }
        }
        let stopping = stop.is_cancelled();
        self.state
            .send_replace(if stopping { State::Stopped } else { State::Down });
        self.metrics.connected.set(0);
        self.metrics.tools.set(0);
        if !stopping {
            tracing::warn!(
                mcp.server = self.name(),
                "the connection to an MCP server is lost"
            );
        }
        drop(live);
        connection.close().await;
        since.elapsed() >= STEADY
    }
}

/// The waits between tries that fail one after the other.
fn waits() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF.0)
        .with_max_delay(BACKOFF.1)
        .without_max_times()
        .with_jitter()
        .build()
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}
