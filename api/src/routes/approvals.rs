//! `/api/{user_id}/runs/{run_id}/approvals/{tool_call_id}`: approve or decline a tool call.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use errand_shared::{Uuid, domain::chat::ChatResponse};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Caller,
    chat::{
        approve,
        response::{self, Pending},
    },
    http::{
        error::{ApiError, Problem},
        extract::Json as JsonBody,
        openapi::{BodyRefusals, CallerRefusals},
    },
    state::AppState,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(decide))
}

/// A decision about a tool call.
#[derive(Debug, Deserialize, ToSchema)]
struct Decision {
    /// Whether the tool may be called with the arguments that were shown.
    approve: bool,
}

/// Approve or decline a tool call.
///
/// The run must have the status `waiting_approval`. A declined call is not made, and the model receives the refusal as its
/// result. The run continues after all its pending calls are decided. Sending the same decision again has no effect.
#[utoipa::path(
    post, path = "/api/{user_id}/runs/{run_id}/approvals/{tool_call_id}", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("run_id" = Uuid, Path, description = "The run"),
        ("tool_call_id" = String, Path, description = "The id of the tool call"),
    ),
    request_body = Decision,
    responses(
        (status = 200, description = "The same decision was made earlier, and the run has finished", body = ChatResponse),
        (status = 202, description = "The decision is stored", body = Pending),
        (status = 404, description = "No such run, or no such tool call that needs approval", body = Problem, content_type = "application/problem+json"),
        CallerRefusals, BodyRefusals,
        (status = 409, description = "The opposite decision was made earlier, or the call no longer waits for approval", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn decide(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, run_id, tool_call_id)): Path<(Uuid, Uuid, String)>,
    JsonBody(decision): JsonBody<Decision>,
) -> Result<Response, ApiError> {
    let run = approve::decide(&app.chat, caller.user_id, run_id, &tool_call_id, decision.approve).await?;
    Ok(if run.status.is_final() {
        Json(run).into_response()
    } else {
        response::pending(&app.chat, caller.user_id, &run).await
    })
}
