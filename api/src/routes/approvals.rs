//! `/api/{user_id}/runs/{run_id}/approvals/{tool_call_id}`: consent to a call, or decline it.

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
        error::ApiError,
        extract::Json as JsonBody,
        openapi::{BodyRefusals, Refusals},
        problem::Problem,
    },
    state::App,
};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(decide))
}

/// What the user says.
#[derive(Debug, Deserialize, ToSchema)]
struct Decision {
    /// Whether the call may be made, with the arguments that were shown and no others.
    approve: bool,
}

/// Approve or decline a tool call.
///
/// For a run that is `waiting_approval`. A call that is declined is not made, and the model is told so. Once all calls that
/// the run waits for are decided it goes on. The same decision may be sent again; it is made once.
#[utoipa::path(
    post, path = "/api/{user_id}/runs/{run_id}/approvals/{tool_call_id}", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("run_id" = Uuid, Path, description = "The run"),
        ("tool_call_id" = String, Path, description = "The call"),
    ),
    request_body = Decision,
    responses(
        (status = 200, description = "It was decided so before, and the run is final", body = ChatResponse),
        (status = 202, description = "It is decided", body = Pending),
        (status = 404, description = "No such run, or no such call that waits for approval", body = Problem, content_type = "application/problem+json"),
        Refusals, BodyRefusals,
        (status = 409, description = "It was decided otherwise, or does not wait any more", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn decide(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, run_id, tool_call_id)): Path<(Uuid, Uuid, String)>,
    JsonBody(decision): JsonBody<Decision>,
) -> Result<Response, ApiError> {
    let run = approve::decide(&app, caller.user_id, run_id, &tool_call_id, decision.approve).await?;
    Ok(if run.status.is_final() {
        Json(run).into_response()
    } else {
        response::pending(&app, caller.user_id, &run).await
    })
}
