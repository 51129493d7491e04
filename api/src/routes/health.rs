//! `/healthz` and `/readyz`: whether the process is alive, and whether it is ready.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use errand_shared::storage::schema::{self, Compatibility};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{http::error::Problem, state::AppState};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

/// The state of the process.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `alive`, `ready`, or `degraded` while Redis is unavailable. A degraded API still accepts messages.
    status: &'static str,
}

/// Check whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "Alive", body = Health)))]
async fn alive() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Check whether the process is ready.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "Ready, or degraded while Redis is unavailable", body = Health),
    (status = 503, description = "Postgres is unavailable or its schema is incompatible", body = Problem, content_type = "application/problem+json"),
))]
async fn ready(State(app): State<AppState>) -> Response {
    let not_ready = |why: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match app.database.run(schema::compatibility(&app.database.pool)).await {
        Ok(Compatibility::Compatible) if app.chat.waiter.is_connected() => {
            Json(Health { status: "ready" }).into_response()
        }
        Ok(Compatibility::Compatible) => Json(Health { status: "degraded" }).into_response(),
        Ok(Compatibility::TooOld { found }) => not_ready(format!(
            "The schema has version {found}, but version {} is required; run the migrations.",
            schema::GENERATION
        )),
        Ok(Compatibility::TooNew { oldest_program }) => not_ready(format!(
            "The schema requires programs of version {oldest_program} or newer."
        )),
        Err(_) => not_ready("Postgres is unavailable, or its schema was never migrated.".to_owned()),
    }
}
