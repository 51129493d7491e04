//! One connection to an MCP server: opening, listing tools, closing.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use errand_shared::{
    domain::agents::{McpServer, McpTransport},
    service::lifecycle::Lifecycle,
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use rmcp::{
    ClientHandler, Peer, RoleClient, ServiceError, ServiceExt,
    model::{
        ClientCapabilities, ClientConfig, ClientRequest, Implementation, ListToolsRequest,
        PaginatedRequestParams, ProtocolVersion, Tool,
    },
    service::{
        ClientInitializeError, NotificationContext, QuitReason, RunningService,
        RunningServiceCancellationToken,
    },
    transport::{
        async_rw::AsyncRwTransport,
        common::client_side_sse::ExponentialBackoff,
        streamable_http_client::{StreamableHttpClientTransport, StreamableHttpClientTransportConfig},
    },
};
use thiserror::Error;
use tokio::{sync::Notify, time::timeout};

use crate::{listing::Listing, process::Process, session_client::SessionClient, tool_page::ToolPage};

/// Maximum size of a message from a server in bytes, including content that isn't passed on, such as images.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of pages of a tool list.
const MAX_PAGES: usize = 64;
/// Maximum number of tools of a list.
const MAX_LISTED_TOOLS: usize = 1024;
/// Attempts to resume a broken stream. The delay doubles each time, to two seconds in total.
const MAX_RESUMES: usize = 3;
/// Timeout for closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An error while connecting.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("can't start the program: {0}")]
    Start(#[from] io::Error),
    /// The server is unreachable or the initialization failed.
    #[error("no connection: {0}")]
    Handshake(Box<ClientInitializeError>),
    /// The server's tools can't be listed.
    #[error("can't list tools: {0}")]
    List(#[from] ServiceError),
}

/// An open connection.
pub(crate) struct Connection {
    peer: Peer<RoleClient>,
    cancel: RunningServiceCancellationToken,
    closed: Shared<BoxFuture<'static, ()>>,
    tools_changed: Arc<Notify>,
    process: Option<Process>,
}

/// The client side of the protocol. Supports nothing but tools.
#[derive(Debug)]
struct Handler {
    tools_changed: Arc<Notify>,
}

impl ClientHandler for Handler {
    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.tools_changed.notify_one();
    }

    fn get_info(&self) -> ClientConfig {
        let client = Implementation::new("errand", env!("CARGO_PKG_VERSION")).with_title("Errand");
        ClientConfig::new(ClientCapabilities::default(), client)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

/// The prepared transport to a server.
#[derive(Debug)]
pub(crate) enum Link {
    Http(reqwest::Client),
    /// A child process.
    Stdio(Lifecycle),
}

impl Connection {
    /// Connects. The caller sets a timeout. Dropping the future kills a child process that was started.
    pub(crate) async fn open(server: &McpServer, link: &Link) -> Result<Self, ConnectError> {
        let tools_changed = Arc::<Notify>::default();
        let handler = Handler {
            tools_changed: Arc::clone(&tools_changed),
        };
        let (process, running) = match (&server.transport, link) {
            (McpTransport::Http { url, .. }, Link::Http(client)) => {
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                    .max_concurrent_requests(server.max_concurrent_calls)
                    .max_sse_event_size(MAX_MESSAGE_BYTES)
                    .max_json_response_size(MAX_MESSAGE_BYTES);
                // A lost session is an ordinary lost connection: `Server` reconnects.
                config.reinit_on_expired_session = false;
                config.retry_config = Arc::new(stream_retries());
                let transport =
                    StreamableHttpClientTransport::with_client(SessionClient(client.clone()), config);
                (None, handler.serve(transport).await)
            }
            (McpTransport::Stdio { command, args, env }, Link::Stdio(lifecycle)) => {
                let (process, stdout, stdin) = Process::start(&server.name, command, args, env, lifecycle)?;
                let transport = AsyncRwTransport::new(stdout, stdin).with_max_line_length(MAX_MESSAGE_BYTES);
                let running = handler.serve(transport).await;
                if running.is_err() {
                    tracing::warn!(
                        mcp.server = server.name,
                        line = process.last_line(),
                        "program of MCP server doesn't respond; last line of its standard error"
                    );
                }
                (Some(process), running)
            }
            _ => return Err(io::Error::other("transport mismatch").into()),
        };
        let running = running.map_err(|error| ConnectError::Handshake(Box::new(error)))?;
        Ok(Self {
            peer: running.peer().clone(),
            cancel: running.cancellation_token(),
            closed: until_closed(running).boxed().shared(),
            tools_changed,
            process,
        })
    }

    pub(crate) fn peer(&self) -> Peer<RoleClient> {
        self.peer.clone()
    }

    /// Requests the list of the server's tools: all pages, within limits.
    pub(crate) async fn list(&self, server: &McpServer) -> Result<Listing, ServiceError> {
        let mut listed: Vec<Tool> = Vec::new();
        let mut unreadable = 0;
        let mut cursor = None;
        let mut cursors = HashSet::new();
        for _ in 0..MAX_PAGES {
            let page = PaginatedRequestParams::default().with_cursor(cursor.take());
            let request = ClientRequest::ListToolsRequest(ListToolsRequest::with_param(page));
            let page = ToolPage::new(self.peer.send_request(request).await?)
                .ok_or(ServiceError::UnexpectedResponse)?;
            listed.extend(page.tools);
            unreadable += page.unreadable;
            // A server that returns the same cursor twice would repeat its pages forever.
            cursor = page.next_cursor.filter(|cursor| cursors.insert(cursor.clone()));
            if cursor.is_none() || listed.len() >= MAX_LISTED_TOOLS {
                break;
            }
        }
        if unreadable > 0 {
            tracing::warn!(
                mcp.server = server.name,
                unreadable,
                "ignoring unreadable MCP tools"
            );
        }
        listed.truncate(MAX_LISTED_TOOLS);
        Ok(Listing::new(server, &listed))
    }

    /// Completes when the server reports that its tools have changed.
    pub(crate) async fn tools_changed(&self) {
        self.tools_changed.notified().await;
    }

    /// Completes when the connection is closed.
    pub(crate) async fn closed(&self) {
        self.closed.clone().await;
    }

    /// Closes the connection and ends the child process, if any.
    pub(crate) async fn close(self) {
        self.cancel.cancel();
        if timeout(CLOSE_TIMEOUT, self.closed).await.is_err() {
            tracing::debug!("connection was not closed in time");
        }
        if let Some(process) = self.process {
            process.stop().await;
        }
    }
}

/// Back-off for resuming a broken stream, if the server supports it. If it fails, calls that wait on the stream get no
/// answer.
fn stream_retries() -> ExponentialBackoff {
    let mut retries = ExponentialBackoff::default();
    retries.base_duration = Duration::from_millis(250);
    retries.max_times = Some(MAX_RESUMES);
    retries
}

async fn until_closed(running: RunningService<RoleClient, Handler>) {
    if let Ok(QuitReason::JoinError(error)) | Err(error) = running.waiting().await {
        tracing::warn!(%error, "connection task failed");
    }
}
