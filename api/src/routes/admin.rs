//! `/admin`: an overview, the queue and the workers. Single runs are in [`runs`].
//!
//! The routes require a token with the role `admin`. They never show the content of messages.

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
    http::{
        error::ApiError,
        openapi::{AdminRefusals, WorkerNotFound},
    },
    routes::admin::capacity::Capacity,
    state::AppState,
};

/// At most this many open runs of each status are counted.
const MAX_OPEN_RUNS: i64 = 200_000;
/// At most this many of the newest runs are read.
const MAX_RECENT_RUNS: i64 = 50_000;
/// At most this many workers are listed.
const MAX_WORKERS: i64 = 1000;
/// An hour, and a margin for the clock that made the id of a run.
const RECENT_PERIOD: Duration = Duration::from_mins(70);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get_overview))
        .routes(routes!(get_capacity))
        .routes(routes!(pause_queue))
        .routes(routes!(resume_queue))
        .routes(routes!(drain_worker))
        .routes(routes!(undrain_worker))
        .merge(runs::router())
}

/// The state of the queue and the workers.
#[derive(Debug, Serialize, ToSchema)]
struct Overview {
    /// The number of queued runs.
    queued: i64,
    /// The number of running runs.
    running: i64,
    /// The time in seconds for which the oldest claimable run has waited. Null if no run is claimable.
    #[schema(required = true)]
    oldest_wait_seconds: Option<f64>,
    /// The number of runs by status: all open runs, and the runs that finished within `recent_seconds`.
    runs_by_status: ByStatus,
    /// The period in seconds for which finished runs are counted: an hour, or less under very high load.
    recent_seconds: f64,
    /// Whether the queue is paused.
    paused: bool,
    /// When the queue was paused. Null if it is not paused.
    #[schema(required = true)]
    paused_at: Option<DateTime<Utc>>,
    /// The workers, ordered by their last heartbeat, newest first. Dead workers are listed for a day.
    workers: Vec<WorkerInfo>,
}

/// The number of runs by status.
#[derive(Debug, Serialize, ToSchema)]
struct ByStatus {
    /// Waiting for a worker.
    queued: i64,
    /// Being executed by a worker.
    running: i64,
    /// Waiting for the approval of a tool call.
    waiting_approval: i64,
    /// Finished with a reply.
    succeeded: i64,
    /// Finished with an error.
    failed: i64,
    /// Cancelled.
    cancelled: i64,
}

/// Whether the queue is paused.
#[derive(Debug, Serialize, ToSchema)]
struct QueueState {
    /// Whether the queue is paused.
    paused: bool,
    /// When the queue was paused. Null if it is not paused.
    #[schema(required = true)]
    paused_at: Option<DateTime<Utc>>,
}

/// Get an overview.
#[utoipa::path(
    get, path = "/admin/overview", operation_id = "see_overview", tag = "admin", security(("bearer" = [])),
    responses((status = 200, description = "The overview", body = Overview), AdminRefusals)
)]
async fn get_overview(State(app): State<AppState>, _admin: Admin) -> Result<Json<Overview>, ApiError> {
    let open = app
        .database
        .run(stats::open_runs(&app.database.pool, MAX_OPEN_RUNS))
        .await?;
    let (recent, workers) = recent_and_workers(&app).await?;
    let recent_seconds = capacity::estimate(&recent, MAX_RECENT_RUNS, &workers).sample_seconds;
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

/// Get the number of workers that the load requires.
///
/// Based on the runs of the last hour: workers = ceil(arrival rate × service time / (concurrency × 0.7)). The arrival rate is
/// that of the last 5 or the last 60 minutes, whichever is higher.
#[utoipa::path(
    get, path = "/admin/capacity", operation_id = "see_capacity", tag = "admin", security(("bearer" = [])),
    responses((status = 200, description = "The number and its calculation", body = Capacity), AdminRefusals)
)]
async fn get_capacity(State(app): State<AppState>, _admin: Admin) -> Result<Json<Capacity>, ApiError> {
    let (recent, workers) = recent_and_workers(&app).await?;
    Ok(Json(capacity::estimate(&recent, MAX_RECENT_RUNS, &workers)))
}

async fn recent_and_workers(app: &AppState) -> Result<(stats::RecentRuns, Vec<WorkerInfo>), ApiError> {
    let since = first_id_at(app.chat.clock.now() - RECENT_PERIOD);
    let recent = app
        .database
        .run(stats::recent_runs(&app.database.pool, since, MAX_RECENT_RUNS))
        .await?;
    let workers = app
        .database
        .run(workers::list(&app.database.pool, MAX_WORKERS))
        .await?;
    Ok((recent, workers))
}

/// Pause the queue.
///
/// Within one heartbeat, workers stop claiming runs. Running runs continue, and messages are still accepted.
#[utoipa::path(
    post, path = "/admin/queue/pause", tag = "admin", security(("bearer" = [])),
    responses((status = 200, description = "The queue is paused", body = QueueState), AdminRefusals)
)]
async fn pause_queue(State(app): State<AppState>, admin: Admin) -> Result<Json<QueueState>, ApiError> {
    set_paused(&app, admin, true).await
}

/// Resume the queue.
#[utoipa::path(
    post, path = "/admin/queue/resume", tag = "admin", security(("bearer" = [])),
    responses((status = 200, description = "The queue is no longer paused", body = QueueState), AdminRefusals)
)]
async fn resume_queue(State(app): State<AppState>, admin: Admin) -> Result<Json<QueueState>, ApiError> {
    set_paused(&app, admin, false).await
}

async fn set_paused(app: &AppState, admin: Admin, paused: bool) -> Result<Json<QueueState>, ApiError> {
    let paused_at = app
        .database
        .run(control::set_paused(&app.database.pool, paused))
        .await?;
    tracing::info!(admin.id = %admin.user_id, queue.paused = paused, "admin paused or resumed the queue");
    Ok(Json(QueueState {
        paused: paused_at.is_some(),
        paused_at,
    }))
}

/// Drain a worker.
///
/// The worker finishes its runs, claims no more, and stays idle until it is stopped.
#[utoipa::path(
    post, path = "/admin/workers/{worker_id}/drain", tag = "admin", security(("bearer" = [])),
    params(("worker_id" = Uuid, Path, description = "The worker")),
    responses(
        (status = 200, description = "The worker is draining", body = WorkerInfo),
        WorkerNotFound,
        AdminRefusals,
    )
)]
async fn drain_worker(
    State(app): State<AppState>,
    admin: Admin,
    Path(worker_id): Path<Uuid>,
) -> Result<Json<WorkerInfo>, ApiError> {
    set_draining(&app, admin, worker_id, true).await
}

/// Stop draining a worker.
#[utoipa::path(
    post, path = "/admin/workers/{worker_id}/undrain", tag = "admin", security(("bearer" = [])),
    params(("worker_id" = Uuid, Path, description = "The worker")),
    responses(
        (status = 200, description = "The worker claims runs again", body = WorkerInfo),
        WorkerNotFound,
        AdminRefusals,
    )
)]
async fn undrain_worker(
    State(app): State<AppState>,
    admin: Admin,
    Path(worker_id): Path<Uuid>,
) -> Result<Json<WorkerInfo>, ApiError> {
    set_draining(&app, admin, worker_id, false).await
}

async fn set_draining(
    app: &AppState,
    admin: Admin,
    worker_id: Uuid,
    draining: bool,
) -> Result<Json<WorkerInfo>, ApiError> {
    let worker = app
        .database
        .run(control::set_draining(&app.database.pool, worker_id, draining))
        .await?
        .ok_or_else(|| ApiError::NotFound(format!("Worker {worker_id} not found")))?;
    tracing::info!(admin.id = %admin.user_id, worker.id = %worker_id, worker.draining = draining, "admin changed the draining state of a worker");
    Ok(Json(worker))
}
