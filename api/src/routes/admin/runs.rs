//! `/admin/runs`: list, read, retry and cancel the runs of all users.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use errand_shared::{
    Uuid,
    domain::run::RunStatus,
    storage::admin_runs::{self, RunDetails, RunFilter, StepSummary},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Admin,
    chat::{cancel, retry},
    http::{
        cursor::BeforeRun,
        error::ApiError,
        openapi::{AdminRefusals, RunNotFound, RunNotRetryable},
        query::{FromQuery, Params, Query},
    },
    state::AppState,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_runs))
        .routes(routes!(read_run))
        .routes(routes!(admin_retry_run))
        .routes(routes!(admin_cancel_run))
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
struct RunPage {
    /// The runs, newest first.
    items: Vec<RunDetails>,
    /// The `cursor` of the next page, or null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A run with its steps.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunInFull)]
struct RunWithSteps {
    #[serde(flatten)]
    run: RunDetails,
    /// The recorded steps of the run, in order.
    steps: Vec<StepSummary>,
}

/// The query of `list_runs`.
#[derive(Debug)]
struct RunQuery {
    filter: RunFilter,
    limit: i64,
}

impl FromQuery for RunQuery {
    fn from_query(params: &Params) -> Result<Self, ApiError> {
        let status = params.parsed("status", "must be the status of a run", |text| {
            text.parse::<RunStatus>().ok()
        })?;
        let user_id = params.parsed("user_id", "must be a UUID", |text| Uuid::try_parse(text).ok())?;
        let before = params.cursor("cursor", BeforeRun::decode)?;
        Ok(Self {
            filter: RunFilter {
                status,
                user_id,
                before: before.map(|before| before.id),
            },
            limit: params.limit()?,
        })
    }
}

/// List the runs of all users, newest first.
#[utoipa::path(
    get, path = "/admin/runs", tag = "admin", security(("bearer" = [])),
    params(
        ("status" = Option<RunStatus>, Query, description = "Only runs with this status"),
        ("user_id" = Option<Uuid>, Query, description = "Only runs of this user"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Maximum number of runs on the page; 50 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "The page", body = RunPage), AdminRefusals)
)]
async fn list_runs(
    State(app): State<AppState>,
    _admin: Admin,
    Query(query): Query<RunQuery>,
) -> Result<Json<RunPage>, ApiError> {
    // One more run than the page has shows whether there is a next page.
    let found = admin_runs::page(&app.database.pool, query.filter, query.limit + 1);
    let mut items = app.database.run(found).await?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let has_more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| has_more);
    let next_cursor = last.map(|last| BeforeRun { id: last.run_id }.encode());
    Ok(Json(RunPage { items, next_cursor }))
}

/// Get a run with its steps.
#[utoipa::path(
    get, path = "/admin/runs/{run_id}", tag = "admin", security(("bearer" = [])),
    params(("run_id" = Uuid, Path, description = "The run")),
    responses(
        (status = 200, description = "The run", body = RunWithSteps),
        RunNotFound,
        AdminRefusals,
    )
)]
async fn read_run(
    State(app): State<AppState>,
    _admin: Admin,
    Path(run_id): Path<Uuid>,
) -> Result<Json<RunWithSteps>, ApiError> {
    let run = find_run(&app, run_id).await?;
    let steps = app
        .database
        .run(admin_runs::steps(&app.database.pool, run_id))
        .await?;
    Ok(Json(RunWithSteps { run, steps }))
}

/// Retry a failed or cancelled run.
///
/// As for users, only the last run of a conversation can be retried, so that messages are answered in order.
#[utoipa::path(
    post, path = "/admin/runs/{run_id}/retry", tag = "admin", security(("bearer" = [])),
    params(("run_id" = Uuid, Path, description = "The run")),
    responses(
        (status = 202, description = "The run is queued again", body = RunDetails),
        RunNotFound,
        RunNotRetryable,
        AdminRefusals,
    )
)]
async fn admin_retry_run(
    State(app): State<AppState>,
    admin: Admin,
    Path(run_id): Path<Uuid>,
) -> Result<(StatusCode, Json<RunDetails>), ApiError> {
    let owner = find_run(&app, run_id).await?.user_id;
    retry::retry(&app.chat, owner, run_id).await?;
    tracing::info!(admin.id = %admin.user_id, run.id = %run_id, "admin retried a run");
    Ok((StatusCode::ACCEPTED, Json(find_run(&app, run_id).await?)))
}

/// Cancel a run.
///
/// A queued run ends immediately, a running one as soon as its worker receives the request.
#[utoipa::path(
    post, path = "/admin/runs/{run_id}/cancel", tag = "admin", security(("bearer" = [])),
    params(("run_id" = Uuid, Path, description = "The run")),
    responses(
        (status = 200, description = "The run had already finished and is unchanged", body = RunDetails),
        (status = 202, description = "The run is being cancelled", body = RunDetails),
        RunNotFound,
        AdminRefusals,
    )
)]
async fn admin_cancel_run(
    State(app): State<AppState>,
    admin: Admin,
    Path(run_id): Path<Uuid>,
) -> Result<(StatusCode, Json<RunDetails>), ApiError> {
    let owner = find_run(&app, run_id).await?.user_id;
    let status = if cancel::cancel(&app.chat, owner, run_id).await?.is_final() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    tracing::info!(admin.id = %admin.user_id, run.id = %run_id, "admin cancelled a run");
    Ok((status, Json(find_run(&app, run_id).await?)))
}

async fn find_run(app: &AppState, run_id: Uuid) -> Result<RunDetails, ApiError> {
    app.database
        .run(admin_runs::find(&app.database.pool, run_id))
        .await?
        .ok_or_else(|| ApiError::run_not_found(run_id))
}
