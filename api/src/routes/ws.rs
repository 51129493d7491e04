//! `GET /api/{user_id}/ws`: the handshake of a WebSocket.

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
        error::ApiError, listener::Place, openapi::Refusals, origin, problem::Problem, request_id::RequestId,
    },
    live::socket,
    state::App,
};

/// Bytes that are read at once, and gathered before they are written.
const BUFFER: usize = 4096;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(open))
}

/// Open a WebSocket.
///
/// It carries the events of all of the caller's runs, and takes messages, cancels and subscriptions: text frames of JSON.
/// A browser gives its token as a subprotocol: `errand.v1, bearer.<token>`.
#[utoipa::path(
    get, path = "/api/{user_id}/ws", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("Sec-WebSocket-Protocol" = Option<String>, Header, description = "`errand.v1`, and `bearer.<token>` in place of a header"),
    ),
    responses(
        (status = 101, description = "The socket is open"),
        (status = 400, description = "Not a WebSocket's handshake", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many WebSockets of this user are open", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn open(
    State(app): State<App>,
    SocketCaller(identity): SocketCaller,
    Extension(place): Extension<Place>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    if !origin::is_allowed(&headers, &app.settings.http.cors_allowed_origins) {
        return Err(ApiError::Forbidden("Pages of this origin may not connect here"));
    }
    let upgrade = upgrade.map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
    let settings = &app.settings.live;
    let seat = app
        .seats
        .take(identity.user_id, settings.ws_connections_per_user)
        .ok_or(ApiError::TooMany {
            detail: "Too many WebSockets of yours are open; close some of them.",
            retry_after: settings.ws_pong_timeout_seconds,
        })?;
    let most = settings.ws_message_max_bytes as usize;
    let sockets = app.sockets.clone();
    Ok(upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(most)
        .max_frame_size(most)
        .on_failed_upgrade(|error| tracing::debug!(%error, "a WebSocket did not come about"))
        .on_upgrade(move |socket| {
            sockets.track_future(async move {
                socket::serve(app, identity, request_id, socket).await;
                drop((seat, place));
            })
        }))
}
