//! `POST /mcp`: the to-do tools as an MCP server, over Streamable HTTP.
//!
//! The protocol is rmcp's; here is what makes it ours: who calls, from where, how often, and how a refusal looks. There
//! are no sessions: each request carries its token and is answered with JSON, so any instance can answer it. What is
//! wrong with the request as HTTP is a problem as everywhere, what is wrong with its message an error of JSON-RPC, and a
//! tool that fails a result.

#[cfg(feature = "mcp-fixtures")]
mod fixtures;
mod message;
mod perform;
mod server;
mod tool;

#[cfg(all(feature = "mcp-fixtures", not(debug_assertions)))]
compile_error!("the conformance suite's tools are for tests: never in a build without debug assertions");

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
};

use self::server::TaskServer;
use crate::{
    auth::Identity,
    http::{error::ApiError, extract, origin, problem::Problem},
    state::App,
};

/// Bytes of a refusal's text that are read, at most.
const REFUSAL_MAX_BYTES: usize = 4096;

/// The route. It describes itself to those who speak MCP, and so is not in the `OpenAPI` document.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/mcp", post(answer))
}

async fn answer(State(app): State<App>, caller: Identity, request: Request) -> Result<Response, ApiError> {
    if !origin::is_allowed(request.headers(), &app.settings.http.cors_allowed_origins) {
        return Err(ApiError::Forbidden("Pages of this origin may not connect here"));
    }
    app.rates.mcp(caller.user_id)?;
    if !extract::is_json(request.headers()) {
        return Err(ApiError::UnsupportedMediaType);
    }
    let (parts, body) = request.into_parts();
    let body = extract::read(Request::new(body), &app).await?;
    if let Some(refusal) = message::refusal(&body) {
        return Ok(refusal);
    }
    let config = config(&app);
    // Made for this one request and its caller: there is no call without a user.
    let server = move || Ok(TaskServer::new(App::clone(&app), caller.user_id));
    let service = StreamableHttpService::new(server, Arc::new(NeverSessionManager::default()), config);
    let response = service.handle(Request::from_parts(parts, Body::from(body))).await;
    Ok(presentable(response.map(Body::new)).await)
}

fn config(app: &App) -> StreamableHttpServerConfig {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(app.settings.http.http_body_max_bytes as usize);
    let hosts = &app.settings.mcp.mcp_allowed_hosts;
    if hosts.iter().any(|host| host == "*") {
        config.disable_allowed_hosts()
    } else {
        config.with_allowed_hosts(hosts)
    }
}

/// What rmcp refuses in words of its own, as a problem.
async fn presentable(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    if is_json || status.is_success() {
        return response;
    }
    if status == StatusCode::FORBIDDEN {
        const DETAIL: &str =
            "This server is not called by this name; its operator can allow it (MCP_ALLOWED_HOSTS)";
        return ApiError::Forbidden(DETAIL).into_response();
    }
    let text = to_bytes(response.into_body(), REFUSAL_MAX_BYTES)
        .await
        .unwrap_or_default();
    Problem::new(status, String::from_utf8_lossy(&text)).into_response()
}
