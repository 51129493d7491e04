//! `/admin/runs`: everybody's runs, the dead letters among them; try again, cancel.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use errand_shared::{
    Uuid,
    domain::run::RunStatus,
    service::failpoints::{self, Failpoint},
    storage::{
        admin_runs::{self, RunDetails, RunFilter, StepSummary},
        runs::{self, RetryOutcome},
    },
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Admin,
    chat::{self, cancel},
    http::{
        cursor::BeforeRun,
        error::ApiError,
        openapi::AdminRefusals,
        problem::Problem,
        query::{FromQuery, Params, Query},
    },
    routes::runs::not_retryable,
    state::App,
};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_runs))
        .routes(routes!(read_run))
        .routes(routes!(admin_retry_run))
        .routes(routes!(admin_cancel_run))
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
struct RunPage {
    /// The runs, the newest first.
    items: Vec<RunDetails>,
    /// `cursor` of the next page, or null at the end.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A run with its steps.
#[derive(Debug, Serialize, ToSchema)]
struct RunInFull {
    #[serde(flatten)]
    run: RunDetails,
    /// What is journalled of it, in order.
    steps: Vec<StepSummary>,
}

/// Which runs, and how many.
#[derive(Debug)]
struct Wanted {
    which: RunFilter,
    limit: i64,
}

impl FromQuery for Wanted {
    fn from_query(params: &Params) -> Result<Self, ApiError> {
        let status = params.parsed("status", "must be a state of a run", |text| {
            text.parse::<RunStatus>().ok()
        })?;
        let user_id = params.parsed("user_id", "must be a UUID", |text| Uuid::try_parse(text).ok())?;
        let before = params.cursor("cursor", BeforeRun::decode)?;
        Ok(Self {
            which: RunFilter {
                status,
                user_id,
                before: before.map(|before| before.id),
            },
            limit: params.limit()?,
        })
    }
}

/// List everybody's runs, the newest first.
///
/// With `status=failed` these are the dead letters.
#[utoipa::path(
    get, path = "/admin/runs", tag = "admin", security(("bearer" = [])),
    params(
        ("status" = Option<RunStatus>, Query, description = "Only runs of this state"),
        ("user_id" = Option<Uuid>, Query, description = "Only runs of this user"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Runs on the page, at most; 50 if absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page after which to go on"),
    ),
    responses((status = 200, description = "The page", body = RunPage), AdminRefusals)
)]
async fn list_runs(
    State(app): State<App>,
    _admin: Admin,
    Query(wanted): Query<Wanted>,
) -> Result<Json<RunPage>, ApiError> {
    // One more than asked for tells whether there are more.
    let found = admin_runs::page(&app.pool, wanted.which, wanted.limit + 1);
    let mut items = app.database(found).await?;
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next_cursor = last.map(|last| BeforeRun { id: last.run_id }.encode());
    Ok(Json(RunPage { items, next_cursor }))
}

/// Read a run with its steps.
#[utoipa::path(
    get, path = "/admin/runs/{run_id}", tag = "admin", security(("bearer" = [])),
    params(("run_id" = Uuid, Path, description = "The run")),
    responses(
        (status = 200, description = "The run", body = RunInFull),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        AdminRefusals,
    )
)]
async fn read_run(
    State(app): State<App>,
    _admin: Admin,
    Path(run_id): Path<Uuid>,
) -> Result<Json<RunInFull>, ApiError> {
    let run = dossier(&app, run_id).await?;
    let steps = app.database(admin_runs::steps(&app.pool, run_id)).await?;
    Ok(Json(RunInFull { run, steps }))
}

/// Try a failed or cancelled run again.
///
/// By the rule that its user has: only the last run of its conversation, so that the order is kept.
#[utoipa::path(
    post, path = "/admin/runs/{run_id}/retry", tag = "admin", security(("bearer" = [])),
    params(("run_id" = Uuid, Path, description = "The run")),
    responses(
        (status = 202, description = "Queued again", body = RunDetails),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has not failed, or is not the last of its conversation", body = Problem, content_type = "application/problem+json"),
        AdminRefusals,
    )
)]
async fn admin_retry_run(
    State(app): State<App>,
    admin: Admin,
    Path(run_id): Path<Uuid>,
) -> Result<(StatusCode, Json<RunDetails>), ApiError> {
    let owner = dossier(&app, run_id).await?.user_id;
    match app.database(runs::retry(&app.pool, owner, run_id)).await? {
        RetryOutcome::Queued(queued) => {
            failpoints::hit(Failpoint::RetryCommitted);
            app.notifier.publish_queued(&queued, app.clock.now());
            app.notifier.notify_ready(owner, run_id);
        }
        RetryOutcome::NotRetryable => return Err(not_retryable()),
        RetryOutcome::NotFound => return Err(chat::no_run(run_id)),
    }
    tracing::info!(admin.id = %admin.user_id, run.id = %run_id, "an admin has queued a run again");
    Ok((StatusCode::ACCEPTED, Json(dossier(&app, run_id).await?)))
}

/// Cancel a run.
///
/// A queued run ends at once, a running one as soon as its worker hears of it.
#[utoipa::path(
    post, path = "/admin/runs/{run_id}/cancel", tag = "admin", security(("bearer" = [])),
    params(("run_id" = Uuid, Path, description = "The run")),
    responses(
        (status = 200, description = "The run was final already and stays as it is", body = RunDetails),
        (status = 202, description = "The run ends", body = RunDetails),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        AdminRefusals,
    )
)]
async fn admin_cancel_run(
    State(app): State<App>,
    admin: Admin,
    Path(run_id): Path<Uuid>,
) -> Result<(StatusCode, Json<RunDetails>), ApiError> {
    let owner = dossier(&app, run_id).await?.user_id;
    let status = if cancel::cancel(&app, owner, run_id).await?.is_final() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    tracing::info!(admin.id = %admin.user_id, run.id = %run_id, "an admin has cancelled a run");
    Ok((status, Json(dossier(&app, run_id).await?)))
}

async fn dossier(app: &App, run_id: Uuid) -> Result<RunDetails, ApiError> {
    app.database(admin_runs::find(&app.pool, run_id))
        .await?
        .ok_or_else(|| chat::no_run(run_id))
}
