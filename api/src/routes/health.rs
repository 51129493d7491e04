//! Whether the process is alive, and whether it is ready.

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

use crate::{http::problem::Problem, state::App};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

/// How the process is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `alive`, `ready`, or `degraded` while Redis is away: chats are still taken.
    status: &'static str,
}

/// Is the process alive?
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, description = "Alive", body = Health)))]
async fn alive() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Is the process ready?
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "Ready, or degraded while Redis is away", body = Health),
    (status = 503, description = "Postgres does not answer, or its schema does not fit", body = Problem, content_type = "application/problem+json"),
))]
async fn ready(State(app): State<App>) -> Response {
    let not_ready = |why: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match app.database(schema::compatibility(&app.pool)).await {
        Ok(Compatibility::Compatible) if app.waiter.is_told() => {
            Json(Health { status: "ready" }).into_response()
        }
        Ok(Compatibility::Compatible) => Json(Health { status: "degraded" }).into_response(),
        Ok(Compatibility::TooOld { found }) => not_ready(format!(
            "The schema has generation {found}; {} is needed: migrate.",
            schema::GENERATION
        )),
        Ok(Compatibility::TooNew { oldest_program }) => not_ready(format!(
            "The schema needs programs of generation {oldest_program}; this one is older."
        )),
        Err(_) => not_ready("Postgres does not answer, or was never migrated.".to_owned()),
    }
}
