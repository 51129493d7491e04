//! The routes: chat completions, models, health and errors.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, State as Shared},
    http::{HeaderMap, StatusCode, Uri, header},
    response::Response,
    routing::{get, post},
};
use serde_json::json;

use super::{
    State,
    behave::{Exchange, behave},
    connection::Connection,
    control,
    response::{self, json_text},
};
use crate::{
    record::RecordedRequest,
    wire::{self, ChatRequest, InvalidRequest},
};

/// Maximum size of a request body in bytes.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// All routes. `control` enables those under `/__control`.
pub(super) fn router(state: Arc<State>, control: bool) -> Router {
    let router = Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/models", get(models))
        .route("/healthz", get(healthz));
    let router = if control {
        router.merge(control::router())
    } else {
        router
    };
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(state)
}

async fn chat(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let in_flight = state.recorder.start_request();
    let parsed = parse(&body);
    let rejected = match &parsed {
        Ok(request) => wire::validate(request).err(),
        Err(invalid) => Some(invalid.clone()),
    };
    let request = parsed.ok();
    let behaviour = match (&request, &rejected) {
        (Some(request), None) => Some(state.script().next(request)),
        _ => None,
    };
    let recorded = Arc::new(RecordedRequest {
        number: in_flight.number,
        path: uri.path().to_owned(),
        authorization: headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned),
        raw: body,
        request,
        rejected: rejected.as_ref().map(ToString::to_string),
    });
    if state.recorder.is_enabled() {
        state.recorder.push(Arc::clone(&recorded));
    }
    match (behaviour, rejected) {
        (Some(behaviour), _) => {
            behave(
                Exchange {
                    state,
                    connection,
                    recorded,
                    in_flight,
                },
                behaviour,
            )
            .await
        }
        (None, Some(invalid)) => response::bad_request(&invalid),
        (None, None) => response::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "no behaviour",
            "server_error",
            None,
            None,
        ),
    }
}

fn parse(body: &[u8]) -> Result<ChatRequest, InvalidRequest> {
    serde_json::from_slice(body).map_err(|error| InvalidRequest {
        message: format!("We could not parse the JSON body of your request: {error}"),
        param: None,
        code: None,
    })
}

async fn models(Shared(state): Shared<Arc<State>>) -> Response {
    let model = json!({"id": state.model, "object": "model", "created": state.started, "owned_by": "errand"});
    json_text(
        StatusCode::OK,
        json!({"object": "list", "data": [model]}).to_string(),
    )
}

async fn healthz() -> Response {
    json_text(StatusCode::OK, Body::from(r#"{"status":"ok"}"#))
}

async fn not_found(uri: Uri) -> Response {
    let message = format!("Unknown request URL: {}.", uri.path());
    response::error(
        StatusCode::NOT_FOUND,
        &message,
        "invalid_request_error",
        None,
        Some("unknown_url"),
    )
}

async fn method_not_allowed() -> Response {
    let message = "Method not allowed.";
    response::error(
        StatusCode::METHOD_NOT_ALLOWED,
        message,
        "invalid_request_error",
        None,
        Some("method_not_supported"),
    )
}
