//! One MCP server: its state, its tools and the calls that it can make. `upkeep.rs` keeps it connected.

use std::sync::Arc;

use errand_shared::{
    domain::agents::{ApprovalPolicy, McpServer, McpTransport},
    service::{config::Exit, lifecycle::Lifecycle},
};
use rmcp::{Peer, RoleClient};
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    call::ReadyCall,
    connection::Link,
    http,
    listing::Listing,
    metrics::{CallResult, McpMetrics, ServerMetrics},
    outcome::{Code, Outcome},
};

/// An MCP server, shared by all runs of a worker.
#[derive(Debug)]
pub struct Server {
    pub(crate) config: McpServer,
    pub(crate) link: Link,
    pub(crate) state: watch::Sender<State>,
    /// Notified on first use.
    pub(crate) first_use: Notify,
    /// Limits concurrent calls.
    pub(crate) call_permits: Semaphore,
    pub(crate) metrics: ServerMetrics,
}

/// The state of the connection.
#[derive(Clone, Debug)]
pub(crate) enum State {
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
    pub(crate) calls: Calls,
}

/// The calls of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) in_progress: TaskTracker,
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
        self.prepare_on(live, tool, arguments)
    }

    /// Prepares a call on a connection.
    pub(crate) fn prepare_on(
        self: &Arc<Self>,
        live: Arc<Live>,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ReadyCall, Outcome> {
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

    /// The connection that replaces a broken one. Waits for it up to the connect timeout, however often connecting fails.
    pub(crate) async fn reconnected(&self) -> Option<Arc<Live>> {
        let mut states = self.state.subscribe();
        let reconnected = states.wait_for(|state| match state {
            State::Ready(live) => !live.calls.broken.is_cancelled(),
            State::Stopped => true,
            _ => false,
        });
        match timeout(self.config.connect_timeout, reconnected).await {
            Ok(Ok(state)) => match &*state {
                State::Ready(live) => Some(Arc::clone(live)),
                _ => None,
            },
            _ => None,
        }
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
}
