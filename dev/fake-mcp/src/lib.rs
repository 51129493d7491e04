//! An MCP server for tests. It fails on request and records what its tools did.

mod handler;
mod sessions;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State as Shared},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any,
};
use rmcp::{
    Peer, RoleServer,
    model::{Tool, ToolAnnotations},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch, time::timeout};

pub use rmcp::model::ToolAnnotations as McpAnnotations;
pub use sessions::LostSession;

use handler::Handler;
use sessions::Sessions;

/// How long a test waits for an expected event.
const TIMEOUT: Duration = Duration::from_mins(2);

/// What a tool does once instead of answering, after its effect was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpFault {
    /// Never answers.
    Hang,
    /// Answers with a tool error.
    Fail(String),
    /// Answers with this number of bytes of text.
    Huge(usize),
    /// Answers with a protocol error about invalid parameters.
    Refuse(String),
}

/// One effect of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpEffect {
    /// The tool.
    pub tool: String,
    /// The idempotency key of the call.
    pub key: String,
    /// Its arguments.
    pub arguments: Value,
}

/// The server. Its tools are `pay` (without annotations), `put` (idempotent) and `look` (read-only).
#[derive(Debug)]
pub struct McpFixture {
    address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

#[derive(Debug, Default)]
struct State {
    effects: watch::Sender<Vec<McpEffect>>,
    fault: Mutex<Option<McpFault>>,
    tools: Mutex<Vec<Tool>>,
    peers: Mutex<Vec<Peer<RoleServer>>>,
    requests: Mutex<Vec<HeaderMap>>,
    redirect: Mutex<Option<String>>,
    has_no_sessions: bool,
    sessions: Sessions,
    lists: Mutex<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tool with one argument, `amount`.
pub fn mcp_tool(name: &str, annotations: ToolAnnotations) -> Tool {
    let schema = json!({
        "type": "object",
        "properties": {"amount": {"type": "integer", "minimum": 0}},
        "required": ["amount"],
        "additionalProperties": false
    });
    mcp_tool_with(name, &schema).with_annotations(annotations)
}

/// A tool with this input schema.
pub fn mcp_tool_with(name: &str, schema: &Value) -> Tool {
    let schema = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name.to_owned(), format!("Does {name}."), Arc::new(schema))
}

impl McpFixture {
    /// Starts the server on a free port.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start() -> Self {
        Self::with(State::default())
    }

    /// The same without sessions: each answer is one JSON document.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start_without_sessions() -> Self {
        Self::with(State {
            has_no_sessions: true,
            ..State::default()
        })
    }

    fn with(state: State) -> Self {
        let state = Arc::new(state);
        *lock(&state.tools) = vec![
            mcp_tool("pay", ToolAnnotations::new()),
            mcp_tool("put", ToolAnnotations::new().idempotent(true)),
            mcp_tool("look", ToolAnnotations::new().read_only(true)),
        ];
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), state)
    }

    /// Serves on its own runtime, so that it can be killed at any moment.
    #[expect(clippy::unwrap_used, reason = "a test without its server can only fail")]
    fn on(address: SocketAddr, state: Arc<State>) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let served = Arc::clone(&state);
        drop(runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router(served)).await.unwrap();
        }));
        Self {
            address,
            state,
            runtime: Some(runtime),
        }
    }

    /// The URL of the MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// A URL that redirects to another one.
    pub fn redirecting_url(&self, to: &str) -> String {
        *lock(&self.state.redirect) = Some(to.to_owned());
        format!("http://{}/redirect", self.address)
    }

    /// An agents file in which this server is named `shop`. `more` are further lines of its section.
    pub fn agents_file(&self, more: &str) -> String {
        format!(
            "[[mcp_servers]]\nname = \"shop\"\nurl = \"{}\"\nallow_private = true\n{more}\n",
            self.url()
        )
    }

    /// The next tool call takes effect and then fails in this way.
    pub fn next_call(&self, fault: McpFault) {
        *lock(&self.state.fault) = Some(fault);
    }

    /// The effects so far.
    pub fn effects(&self) -> Vec<McpEffect> {
        self.state.effects.borrow().clone()
    }

    /// Waits until this number of effects was recorded.
    ///
    /// # Panics
    /// If that takes too long.
    #[expect(clippy::expect_used, reason = "a test without its effects can only fail")]
    pub async fn wait_for_effects(&self, effects: usize) {
        let mut recorded = self.state.effects.subscribe();
        let waiting = recorded.wait_for(|recorded| recorded.len() >= effects);
        drop(
            timeout(TIMEOUT, waiting)
                .await
                .expect("the tools have not taken effect"),
        );
    }

    /// How often the tools were listed.
    pub fn lists(&self) -> usize {
        *lock(&self.state.lists)
    }

    /// The headers of all requests.
    pub fn requests(&self) -> Vec<HeaderMap> {
        lock(&self.state.requests).clone()
    }

    /// Replaces the tools and notifies connected clients.
    pub fn change_tools(&self, tools: Vec<Tool>) {
        *lock(&self.state.tools) = tools;
        if let Some(runtime) = &self.runtime {
            for peer in lock(&self.state.peers).clone() {
                drop(runtime.spawn(async move { peer.notify_tool_list_changed().await }));
            }
        }
    }

    /// Forgets all sessions. Their requests are answered in this form.
    pub fn forget_sessions(&self, form: LostSession) {
        self.state.sessions.forget(form);
    }

    /// From now on, GET is answered with an error that has this status.
    ///
    /// # Panics
    /// If there is no such status.
    #[expect(clippy::unwrap_used, reason = "an invalid status is a mistake in the test")]
    pub fn without_stream(&self, status: u16) {
        self.state
            .sessions
            .refuse_streams(StatusCode::from_u16(status).unwrap());
    }

    /// Kills the server: its connections break.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts the server again on the same port, without its sessions.
    ///
    /// # Panics
    /// If the port is not free in time.
    #[expect(clippy::expect_used, reason = "a test without its server can only fail")]
    pub async fn restart(&mut self) {
        let address = self.address;
        // The connections of the killed runtime may still be closing, which gives no signal.
        let is_free = async {
            while std::net::TcpListener::bind(address).is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(TIMEOUT, is_free).await.expect("the port is not free");
        lock(&self.state.peers).clear();
        let state = Arc::clone(&self.state);
        *self = Self::on(address, state);
    }
}

impl Drop for McpFixture {
    fn drop(&mut self) {
        self.kill();
    }
}

fn router(state: Arc<State>) -> Router {
    let handler = Handler(Arc::clone(&state));
    let mut config = StreamableHttpServerConfig::default();
    config.legacy_session_mode = !state.has_no_sessions;
    config.json_response = state.has_no_sessions;
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    Router::new()
        .route_service("/mcp", service)
        .route("/redirect", any(redirect))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), remember))
        .with_state(state)
}

async fn remember(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    lock(&state.requests).push(request.headers().clone());
    match state.sessions.answer(request).await {
        Ok(response) => response,
        Err(request) => next.run(request).await,
    }
}

async fn redirect(Shared(state): Shared<Arc<State>>) -> Response {
    let to = lock(&state.redirect).clone().unwrap_or_default();
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
}
