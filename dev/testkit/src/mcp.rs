//! Somebody else's MCP server, which does as a test tells it and counts what its tools have done.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    ErrorData, Peer, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
    },
    service::{NotificationContext, RequestContext},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::eventually::eventually;

/// Where a worker puts the key of a call.
const KEY: &str = "errand/idempotency-key";

/// What a tool does in place of answering, once; its effect has been counted by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpFault {
    /// It never answers.
    Hang,
    /// It answers with an error of its own.
    Fail(String),
    /// It answers with so many bytes of text.
    Huge(usize),
    /// It asks for the call to be made somehow else, as an error of the protocol.
    Refuse(String),
}

/// One effect of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpEffect {
    /// The tool.
    pub tool: String,
    /// The key that the call bore.
    pub key: String,
    /// Its arguments.
    pub arguments: Value,
}

/// The server. It has the tools `pay`, of which nothing is known, `put`, which is idempotent, and `look`, which changes
/// nothing.
#[derive(Debug)]
pub struct McpFixture {
    address: SocketAddr,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

#[derive(Debug, Default)]
struct State {
    effects: Mutex<Vec<McpEffect>>,
    fault: Mutex<Option<McpFault>>,
    tools: Mutex<Vec<Tool>>,
    peers: Mutex<Vec<Peer<RoleServer>>>,
    requests: Mutex<Vec<HeaderMap>>,
    redirect: Mutex<Option<String>>,
    lists: Mutex<usize>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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

/// A tool with this schema.
pub fn mcp_tool_with(name: &str, schema: &Value) -> Tool {
    let schema = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name.to_owned(), format!("Does {name}."), Arc::new(schema))
}

impl McpFixture {
    /// Starts one.
    ///
    /// # Panics
    /// If the system does not let it.
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        *held(&state.tools) = vec![
            mcp_tool("pay", ToolAnnotations::new()),
            mcp_tool("put", ToolAnnotations::new().idempotent(true)),
            mcp_tool("look", ToolAnnotations::new().read_only(true)),
        ];
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), state)
    }

    /// Serves on a runtime of its own, so that it can die in the middle of anything.
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

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Where it sends whoever comes to another URL.
    pub fn redirecting_url(&self, to: &str) -> String {
        *held(&self.state.redirect) = Some(to.to_owned());
        format!("http://{}/redirect", self.address)
    }

    /// A file of agents that knows this server as `shop`, with more lines about it.
    pub fn agents_file(&self, more: &str) -> String {
        format!(
            "[[mcp_servers]]\nname = \"shop\"\nurl = \"{}\"\nallow_private = true\n{more}\n",
            self.url()
        )
    }

    /// The next call of a tool has its effect and then does this.
    pub fn next_call(&self, fault: McpFault) {
        *held(&self.state.fault) = Some(fault);
    }

    /// What its tools have done so far.
    pub fn effects(&self) -> Vec<McpEffect> {
        held(&self.state.effects).clone()
    }

    /// Waits until its tools have done so much.
    pub async fn has_done(&self, effects: usize) {
        eventually("the tool has had its effect", || async {
            self.effects().len() >= effects
        })
        .await;
    }

    /// How often its tools were listed.
    pub fn lists(&self) -> usize {
        *held(&self.state.lists)
    }

    /// The headers of every request so far.
    pub fn requests(&self) -> Vec<HeaderMap> {
        held(&self.state.requests).clone()
    }

    /// Has other tools from now on, and says so to whoever is connected.
    pub fn change_tools(&self, tools: Vec<Tool>) {
        *held(&self.state.tools) = tools;
        if let Some(runtime) = &self.runtime {
            for peer in held(&self.state.peers).clone() {
                drop(runtime.spawn(async move { peer.notify_tool_list_changed().await }));
            }
        }
    }

    /// Dies: whoever is connected is cut off, and nobody is there any more.
    pub fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Comes back at the same place, with no memory of sessions.
    ///
    /// # Panics
    /// If it can't be had any more.
    pub async fn come_back(&mut self) {
        let address = self.address;
        // The connections of the runtime that ended may still be closing.
        eventually("its address is free", || async {
            std::net::TcpListener::bind(address).is_ok()
        })
        .await;
        held(&self.state.peers).clear();
        let state = Arc::clone(&self.state);
        *self = Self::on(address, state);
    }
}

impl Drop for McpFixture {
    fn drop(&mut self) {
        self.die();
    }
}

fn router(state: Arc<State>) -> Router {
    let handler = Handler(Arc::clone(&state));
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    Router::new()
        .route_service("/mcp", service)
        .route("/redirect", any(redirect))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), remember))
        .with_state(state)
}

async fn remember(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    held(&state.requests).push(request.headers().clone());
    next.run(request).await
}

async fn redirect(Shared(state): Shared<Arc<State>>) -> Response {
    let to = held(&state.redirect).clone().unwrap_or_default();
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
}

#[derive(Clone, Debug)]
struct Handler(Arc<State>);

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        held(&self.0.peers).push(context.peer);
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        *held(&self.0.lists) += 1;
        Ok(ListToolsResult::with_all_items(held(&self.0.tools).clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let key = context.meta.get(KEY).and_then(Value::as_str).unwrap_or_default();
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        held(&self.0.effects).push(McpEffect {
            tool: request.name.to_string(),
            key: key.to_owned(),
            arguments: arguments.clone(),
        });
        let fault = held(&self.0.fault).take();
        let text = match fault {
            None => format!("{} {}", request.name, arguments),
            Some(McpFault::Hang) => std::future::pending().await,
            Some(McpFault::Fail(why)) => {
                return Ok(CallToolResult::error(vec![ContentBlock::text(why)]).into());
            }
            Some(McpFault::Huge(bytes)) => "x".repeat(bytes),
            Some(McpFault::Refuse(why)) => return Err(ErrorData::invalid_params(why, None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}
