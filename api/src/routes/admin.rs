//! `/admin`: the whole at a glance, the queue, the workers. What is done to single runs is in [`runs`].
//!
//! For a token whose role is `admin`; nothing here shows what anybody said.

mod capacity;
pub(crate) mod runs;

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
};
use chrono::{DateTime, Utc};
use errand_shared::{
    Uuid,
    domain::clock::first_id_at,
    storage::{
        queue::{
            control,
            workers::{self, WorkerInfo},
        },
        stats,
    },
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Admin,
    http::{error::ApiError, openapi::AdminRefusals, problem::Problem},
    routes::admin::capacity::Capacity,
    state::App,
};

/// Open runs of a state that are counted, at most.
const MOST_OPEN: i64 = 200_000;
/// Newest runs that are looked at, at most.
const MOST_RECENT: i64 = 50_000;
/// Workers that are shown, at most.
const MOST_WORKERS: i64 = 1000;
/// An hour, and how far the clock that made a run's id may be behind.
const RECENT: Duration = Duration::from_mins(70);

/// The routes for admins.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(see_overview))
        .routes(routes!(see_capacity))
        .routes(routes!(pause_queue))
        .routes(routes!(resume_queue))
        .routes(routes!(drain_worker))
        .routes(routes!(undrain_worker))
        .merge(runs::router())
}

/// Everything at a glance.
#[derive(Debug, Serialize, ToSchema)]
struct Overview {
    /// Runs that wait to be claimed.
    queued: i64,
    /// Runs that workers hold.
    running: i64,
    /// How long the run has waited, in seconds, that could be claimed for longest; null if none could.
    #[schema(required = true)]
    oldest_wait_seconds: Option<f64>,
    /// Runs by state: all that are open, and of the ended ones those of `recent_seconds`.
    runs_by_status: ByStatus,
    /// How far back ended runs are counted: an hour, or less if very many came.
    recent_seconds: f64,
    /// Whether no worker claims anything.
    paused: bool,
    /// Since when.
    #[schema(required = true)]
    paused_at: Option<DateTime<Utc>>,
    /// The workers, those first that were heard of last; dead ones are among them for a day.
    workers: Vec<WorkerInfo>,
}

/// Numbers of runs.
#[derive(Debug, Serialize, ToSchema)]
struct ByStatus {
    /// Waiting to be claimed.
    queued: i64,
    /// Held by workers.
    running: i64,
    /// Parked until their users decide.
    waiting_approval: i64,
    /// Ended with a reply.
    succeeded: i64,
    /// Ended without one.
    failed: i64,
    /// Ended by their users' wish.
    cancelled: i64,
}

/// Whether the queue is paused.
#[derive(Debug, Serialize, ToSchema)]
struct QueueState {
    /// Whether no worker claims anything.
    paused: bool,
    /// Since when.
    #[schema(required = true)]
    paused_at: Option<DateTime<Utc>>,
}

/// See everything at a glance.
#[utoipa::path(
    get, path = "/admin/overview", tag = "admin", security(("bearer" = [])),
    responses((status = 200, description = "The overview", body = Overview), AdminRefusals)
)]
async fn see_overview(State(app): State<App>, _admin: Admin) -> Result<Json<Overview>, ApiError> {
    let open = app.database(stats::open_runs(&app.pool, MOST_OPEN)).await?;
    let (recent, workers) = recent_and_workers(&app).await?;
    let recent_seconds = capacity::reckon(&recent, MOST_RECENT, &workers).sample_seconds;
    Ok(Json(Overview {
        queued: open.queued,
        running: open.running,
        oldest_wait_seconds: open.oldest_wait_seconds,
        runs_by_status: ByStatus {
            queued: open.queued,
            running: open.running,
            waiting_approval: open.waiting_approval,
            succeeded: recent.succeeded,
            failed: recent.failed,
            cancelled: recent.cancelled,
        },
        recent_seconds,
        paused: open.paused_at.is_some(),
        paused_at: open.paused_at,
        workers,
    }))
}

/// See how many workers the load calls for.
///
/// By the runs of the last hour: workers = ceil(arrivals × service time / (concurrency × 0.7)), where the arrivals are
/// those of the last 5 or 60 minutes, whichever are more.
#[utoipa::path(
    get, path = "/admin/capacity", tag = "admin", security(("bearer" = [])),
    responses((status = 200, description = "The number, and how it was reckoned", body = Capacity), AdminRefusals)
)]
async fn see_capacity(State(app): State<App>, _admin: Admin) -> Result<Json<Capacity>, ApiError> {
    let (recent, workers) = recent_and_workers(&app).await?;
    Ok(Json(capacity::reckon(&recent, MOST_RECENT, &workers)))
}

async fn recent_and_workers(app: &App) -> Result<(stats::RecentRuns, Vec<WorkerInfo>), ApiError> {
    let since = first_id_at(app.clock.now() - RECENT);
    let recent = app
        .database(stats::recent_runs(&app.pool, since, MOST_RECENT))
        .await?;
    let workers = app.database(workers::list(&app.pool, MOST_WORKERS)).await?;
    Ok((recent, workers))
}

/// Pause the queue.
///
/// Within a heartbeat no worker claims anything any more; what they have goes on. Messages are still taken.
#[utoipa::path(
    post, path = "/admin/queue/pause", tag = "admin", security(("bearer" = [])),
    responses((status = 200, description = "It is paused", body = QueueState), AdminRefusals)
)]
async fn pause_queue(State(app): State<App>, admin: Admin) -> Result<Json<QueueState>, ApiError> {
    set_paused(&app, admin, true).await
}

/// Let the queue go on.
#[utoipa::path(
    post, path = "/admin/queue/resume", tag = "admin", security(("bearer" = [])),
    responses((status = 200, description = "It goes on", body = QueueState), AdminRefusals)
)]
async fn resume_queue(State(app): State<App>, admin: Admin) -> Result<Json<QueueState>, ApiError> {
    set_paused(&app, admin, false).await
}

async fn set_paused(app: &App, admin: Admin, paused: bool) -> Result<Json<QueueState>, ApiError> {
    let paused_at = app.database(control::set_paused(&app.pool, paused)).await?;
    tracing::info!(admin.id = %admin.user_id, queue.paused = paused, "an admin has set the queue");
    Ok(Json(QueueState {
        paused: paused_at.is_some(),
        paused_at,
    }))
}

/// Tell a worker to claim nothing more.
///
/// It finishes what it has and idles until it is stopped.
#[utoipa::path(
    post, path = "/admin/workers/{worker_id}/drain", tag = "admin", security(("bearer" = [])),
    params(("worker_id" = Uuid, Path, description = "The worker")),
    responses(
        (status = 200, description = "It drains", body = WorkerInfo),
        (status = 404, description = "No such worker", body = Problem, content_type = "application/problem+json"),
        AdminRefusals,
    )
)]
async fn drain_worker(
    State(app): State<App>,
    admin: Admin,
    Path(worker_id): Path<Uuid>,
) -> Result<Json<WorkerInfo>, ApiError> {
    set_draining(&app, admin, worker_id, true).await
}

/// Let a draining worker claim again.
#[utoipa::path(
    post, path = "/admin/workers/{worker_id}/undrain", tag = "admin", security(("bearer" = [])),
    params(("worker_id" = Uuid, Path, description = "The worker")),
    responses(
        (status = 200, description = "It claims again", body = WorkerInfo),
        (status = 404, description = "No such worker", body = Problem, content_type = "application/problem+json"),
        AdminRefusals,
    )
)]
async fn undrain_worker(
    State(app): State<App>,
    admin: Admin,
    Path(worker_id): Path<Uuid>,
) -> Result<Json<WorkerInfo>, ApiError> {
    set_draining(&app, admin, worker_id, false).await
}

async fn set_draining(
    app: &App,
    admin: Admin,
    worker_id: Uuid,
    draining: bool,
) -> Result<Json<WorkerInfo>, ApiError> {
    let worker = app
        .database(control::set_draining(&app.pool, worker_id, draining))
        .await?
        .ok_or_else(|| ApiError::NotFound(format!("Worker {worker_id} not found")))?;
    tracing::info!(admin.id = %admin.user_id, worker.id = %worker_id, worker.draining = draining, "an admin has set a worker");
    Ok(Json(worker))
}
