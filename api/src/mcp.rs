//! `POST /mcp`: the to-do tools as an MCP server, over Streamable HTTP.
//!
//! rmcp implements the protocol. This module adds authentication, the origin check, rate limits and our error format. There are
//! no sessions: every request has a token and gets a JSON response, so any instance can handle it. An invalid HTTP request is a
//! problem, an invalid message is a JSON-RPC error, and a failed tool is a result.

#[cfg(feature = "mcp-fixtures")]
mod fixtures;
mod message;
mod perform;
mod server;
mod tool;

#[cfg(all(feature = "mcp-fixtures", not(debug_assertions)))]
compile_error!(
    "the tools of the conformance suite are only for tests, not for builds without debug assertions"
);

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{FromRef, Request, State},
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
    http::{
        error::{ApiError, Problem},
        extract::{self, BodyLimits},
        origin,
    },
    state::AppState,
};

/// At most this many bytes of an error from rmcp are read.
const ERROR_MAX_BYTES: usize = 4096;

/// The route. MCP has its own discovery, so it is not in the `OpenAPI` document.
pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/mcp", post(handle))
}

async fn handle(
    State(app): State<AppState>,
    caller: Identity,
    request: Request,
) -> Result<Response, ApiError> {
    if !origin::is_allowed(request.headers(), &app.settings.http.cors_allowed_origins) {
        return Err(ApiError::Forbidden(
            "Pages of this origin may not connect to this server",
        ));
    }
    app.rates.mcp(caller.user_id)?;
    if !extract::is_json(request.headers()) {
        return Err(ApiError::UnsupportedMediaType);
    }
    let (parts, body) = request.into_parts();
    let body = extract::read(Request::new(body), BodyLimits::from_ref(&app)).await?;
    if let Some(response) = message::error_response(&body) {
        return Ok(response);
    }
    let config = config(&app);
    // One server per request, so that every call belongs to a user.
    let server = move || Ok(TaskServer::new(app.database.clone(), caller.user_id));
    let service = StreamableHttpService::new(server, Arc::new(NeverSessionManager::default()), config);
    let response = service.handle(Request::from_parts(parts, Body::from(body))).await;
    Ok(as_problem(response.map(Body::new)).await)
}

fn config(app: &AppState) -> StreamableHttpServerConfig {
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

/// Turns an error from rmcp into a problem.
async fn as_problem(response: Response) -> Response {
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
            "This host name is not allowed; the operator can allow it with MCP_ALLOWED_HOSTS";
        return ApiError::Forbidden(DETAIL).into_response();
    }
    let text = to_bytes(response.into_body(), ERROR_MAX_BYTES)
        .await
        .unwrap_or_default();
    Problem::new(status, String::from_utf8_lossy(&text)).into_response()
}
