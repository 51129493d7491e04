//! One connection to a server, from its opening to its close.

use std::{io, sync::Arc, time::Duration};

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
        ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, ProtocolVersion, Tool,
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

use crate::{listing::Listing, process::Process};

/// Bytes of one message of a server's: what is no text counts here too, although it is not shown.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Pages of a list that are read.
const MOST_PAGES: usize = 64;
/// Tools of a list that are looked at.
const MOST_LISTED: usize = 1024;
/// How often it is tried to take up a stream that broke; each wait is twice the one before it, two seconds in all.
const RESUMED: usize = 3;
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum Unconnected {
    /// The program can't be started.
    #[error("the program can't be started: {0}")]
    Start(#[from] io::Error),
    /// The server and we do not come together.
    #[error("no connection: {0}")]
    Handshake(Box<ClientInitializeError>),
    /// It does not say what it has.
    #[error("its tools can't be listed: {0}")]
    List(#[from] ServiceError),
}

/// An open connection.
pub(crate) struct Connection {
    peer: Peer<RoleClient>,
    goodbye: RunningServiceCancellationToken,
    over: Shared<BoxFuture<'static, ()>>,
    changed: Arc<Notify>,
    process: Option<Process>,
}

/// What we are to a server: somebody who only calls tools.
#[derive(Debug)]
struct Handler {
    changed: Arc<Notify>,
}

impl ClientHandler for Handler {
    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }

    fn get_info(&self) -> ClientConfig {
        let ourselves = Implementation::new("errand", env!("CARGO_PKG_VERSION")).with_title("Errand");
        ClientConfig::new(ClientCapabilities::default(), ourselves)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}

/// How a server is reached, made ready.
#[derive(Debug)]
pub(crate) enum Link {
    /// With this client.
    Http(reqwest::Client),
    /// As a child.
    Stdio(Lifecycle),
}

impl Connection {
    /// Connects. The caller bounds the time; a child that was started goes with the future.
    pub(crate) async fn open(server: &McpServer, link: &Link) -> Result<Self, Unconnected> {
        let changed = Arc::<Notify>::default();
        let handler = Handler {
            changed: Arc::clone(&changed),
        };
        let (process, running) = match (&server.transport, link) {
            (McpTransport::Http { url, .. }, Link::Http(client)) => {
                let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                    .max_concurrent_requests(server.max_concurrent_calls)
                    .max_sse_event_size(MESSAGE_BYTES)
                    .max_json_response_size(MESSAGE_BYTES);
                // A server that has lost the session is connected to anew, by the same rules as any other.
                config.reinit_on_expired_session = false;
                config.retry_config = Arc::new(resuming());
                let transport = StreamableHttpClientTransport::with_client(client.clone(), config);
                (None, handler.serve(transport).await)
            }
            (McpTransport::Stdio { command, args, env }, Link::Stdio(lifecycle)) => {
                let (process, stdout, stdin) = Process::start(&server.name, command, args, env, lifecycle)?;
                let transport = AsyncRwTransport::new(stdout, stdin).with_max_line_length(MESSAGE_BYTES);
                let running = handler.serve(transport).await;
                if running.is_err() {
                    tracing::warn!(
                        mcp.server = server.name,
                        line = process.last_line(),
                        "an MCP server's program does not answer; what it said last"
                    );
                }
                (Some(process), running)
            }
            _ => return Err(io::Error::other("made ready for another transport").into()),
        };
        let running = running.map_err(|error| Unconnected::Handshake(Box::new(error)))?;
        Ok(Self {
            peer: running.peer().clone(),
            goodbye: running.cancellation_token(),
            over: until_over(running).boxed().shared(),
            changed,
            process,
        })
    }

    /// Who takes requests.
    pub(crate) fn peer(&self) -> Peer<RoleClient> {
        self.peer.clone()
    }

    /// Asks for the server's tools, all pages of them within bounds.
    pub(crate) async fn list(&self, server: &McpServer) -> Result<Listing, ServiceError> {
        let mut listed: Vec<Tool> = Vec::new();
        let mut cursor = None;
        for _ in 0..MOST_PAGES {
            let page = PaginatedRequestParams::default().with_cursor(cursor.take());
            let page = self.peer.list_tools(Some(page)).await?;
            listed.extend(page.tools);
            cursor = page.next_cursor;
            if cursor.is_none() || listed.len() >= MOST_LISTED {
                break;
            }
        }
        listed.truncate(MOST_LISTED);
        Ok(Listing::new(server, &listed))
    }

    /// Ends when the server has said that its tools are others now.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends when nothing more can come of it.
    pub(crate) async fn over(&self) {
        self.over.clone().await;
    }

    /// Says goodbye, and ends the child if there is one.
    pub(crate) async fn close(self) {
        self.goodbye.cancel();
        if timeout(FAREWELL, self.over).await.is_err() {
            tracing::debug!("a connection was not closed in time");
        }
        if let Some(process) = self.process {
            process.end().await;
        }
    }
}

/// How a stream that broke is taken up again, where the server lets it be; then whoever waits for an answer from it has none.
fn resuming() -> ExponentialBackoff {
    let mut resuming = ExponentialBackoff::default();
    resuming.base_duration = Duration::from_millis(250);
    resuming.max_times = Some(RESUMED);
    resuming
}

async fn until_over(running: RunningService<RoleClient, Handler>) {
    if let Ok(QuitReason::JoinError(error)) | Err(error) = running.waiting().await {
        tracing::warn!(%error, "the task of a connection failed");
    }
}
