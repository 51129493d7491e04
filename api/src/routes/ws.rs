//! `GET /api/{user_id}/ws`: opens a WebSocket.

use axum::{
    Extension,
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::HeaderMap,
    response::Response,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{PROTOCOL, SocketCaller},
    http::{
        error::{ApiError, Problem},
        listener::ConnectionSlot,
        openapi::CallerRefusals,
        origin,
        request_id::RequestId,
    },
    live::socket,
    state::AppState,
};

/// Size of the read and write buffers in bytes.
const BUFFER_BYTES: usize = 4096;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(open))
}

/// Open a WebSocket.
///
/// Frames are JSON text. The server sends the events of all runs of the caller; the client sends messages, subscriptions,
/// cancellations and approvals. A browser passes its token as a subprotocol: `errand.v1, bearer.<token>`.
#[utoipa::path(
    get, path = "/api/{user_id}/ws", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("Sec-WebSocket-Protocol" = Option<String>, Header, description = "`errand.v1`, and `bearer.<token>` instead of the `Authorization` header"),
    ),
    responses(
        (status = 101, description = "The WebSocket is open"),
        (status = 400, description = "The request is not a WebSocket handshake", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The user has too many open WebSockets", body = Problem, content_type = "application/problem+json"),
        CallerRefusals,
    )
)]
async fn open(
    State(app): State<AppState>,
    SocketCaller(identity): SocketCaller,
    Extension(slot): Extension<ConnectionSlot>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    if !origin::is_allowed(&headers, &app.settings.http.cors_allowed_origins) {
        return Err(ApiError::Forbidden(
            "Pages of this origin may not connect to this server",
        ));
    }
    let upgrade = upgrade.map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
    let settings = &app.settings.live;
    let permit = app
        .live
        .connections
        .acquire(identity.user_id, settings.ws_connections_per_user)
        .ok_or(ApiError::TooMany {
            detail: "You have too many open WebSockets; close some of them.",
            retry_after: settings.ws_pong_timeout_seconds,
        })?;
    let max_bytes = settings.ws_message_max_bytes as usize;
    let (live, sockets) = (app.live.clone(), app.sockets.clone());
    Ok(upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(max_bytes)
        .max_frame_size(max_bytes)
        .on_failed_upgrade(|error| tracing::debug!(%error, "WebSocket upgrade failed"))
        .on_upgrade(move |socket| {
            sockets.track_future(async move {
                socket::serve(live, identity, request_id, socket).await;
                drop((permit, slot));
            })
        }))
}
