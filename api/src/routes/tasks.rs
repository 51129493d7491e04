//! `/api/{user_id}/tasks`: the to-do list itself, under the same rules as the agent's tools.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
};
use errand_shared::{
    Uuid,
    storage::tasks::{self, Change, Filter, Task},
};
use errand_task_tools::rules;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Caller,
    http::{
        error::ApiError,
        extract::Json as JsonBody,
        openapi::{BodyRefusals, Refusals},
        problem::Problem,
        query::Query,
    },
    state::App,
};

mod wire;

use wire::{ChangeTask, NewTask, TaskPage, Which};

/// The routes of tasks.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_tasks, add_task))
        .routes(routes!(read_task, change_task, delete_task))
}

/// List the tasks in the order they were added.
#[utoipa::path(
    get, path = "/api/{user_id}/tasks", tag = "tasks", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("completed" = Option<bool>, Query, description = "Only completed ones, or only open ones; all if absent"),
        ("search" = Option<String>, Query, max_length = 255, description = "Only those with this text in title or description, whatever its case"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Tasks on the page, at most; 50 if absent"),
        ("offset" = Option<i64>, Query, minimum = 0, description = "Tasks to pass over; 0 if absent"),
        ("cursor" = Option<String>, Query, min_length = 1, description = "`next_cursor` of the page after which to go on, in place of `offset`; the filter is to be given again"),
    ),
    responses((status = 200, description = "The page", body = TaskPage), Refusals)
)]
async fn list_tasks(
    State(app): State<App>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<TaskPage>, ApiError> {
    let filter = Filter {
        completed: which.completed,
        search: which.search.as_deref(),
    };
    let found = tasks::list(&app.pool, caller.user_id, filter, which.limit, which.offset);
    let (items, total) = app.database(found).await?;
    Ok(Json(TaskPage::new(items, total, which.offset)))
}

/// Add a task.
#[utoipa::path(
    post, path = "/api/{user_id}/tasks", tag = "tasks", security(("bearer" = [])),
    params(("user_id" = Uuid, Path, description = "The caller's own id")),
    request_body = NewTask,
    responses(
        (status = 201, description = "The task", body = Task, headers(("Location" = String, description = "The task"))),
        Refusals, BodyRefusals,
    )
)]
async fn add_task(
    State(app): State<App>,
    caller: Caller,
    JsonBody(new): JsonBody<NewTask>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Task>), ApiError> {
    let title = rules::title(&new.title)?;
    let description = new.description.as_deref().map(rules::description).transpose()?;
    let task = app
        .database(tasks::add(&app.pool, caller.user_id, title, description))
        .await?;
    let location = format!("/api/{}/tasks/{}", caller.user_id, task.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(task)))
}

/// Read a task.
#[utoipa::path(
    get, path = "/api/{user_id}/tasks/{task_id}", tag = "tasks", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("task_id" = i64, Path, minimum = 1, description = "The task's number"),
    ),
    responses(
        (status = 200, description = "The task", body = Task),
        (status = 404, description = "No such task", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn read_task(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, task_id)): Path<(Uuid, i64)>,
) -> Result<Json<Task>, ApiError> {
    found(
        task_id,
        app.database(tasks::get(&app.pool, caller.user_id, task_id))
            .await?,
    )
    .map(Json)
}

/// Change a task.
///
/// Members that are absent stay as they are; at least one must be there.
#[utoipa::path(
    patch, path = "/api/{user_id}/tasks/{task_id}", tag = "tasks", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("task_id" = i64, Path, minimum = 1, description = "The task's number"),
    ),
    request_body = ChangeTask,
    responses(
        (status = 200, description = "The task as it is now", body = Task),
        (status = 404, description = "No such task", body = Problem, content_type = "application/problem+json"),
        Refusals, BodyRefusals,
    )
)]
async fn change_task(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, task_id)): Path<(Uuid, i64)>,
    JsonBody(asked): JsonBody<ChangeTask>,
) -> Result<Json<Task>, ApiError> {
    let change = Change {
        title: asked.title.as_deref().map(rules::title).transpose()?,
        description: asked.description.as_deref().map(rules::description).transpose()?,
        completed: asked.completed,
    };
    if change == Change::default() {
        return Err(ApiError::invalid("", "give a title, a description or completed"));
    }
    found(
        task_id,
        app.database(tasks::update(&app.pool, caller.user_id, task_id, change))
            .await?,
    )
    .map(Json)
}

/// Delete a task.
#[utoipa::path(
    delete, path = "/api/{user_id}/tasks/{task_id}", tag = "tasks", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("task_id" = i64, Path, minimum = 1, description = "The task's number"),
    ),
    responses(
        (status = 204, description = "It is gone; its number is never used again"),
        (status = 404, description = "No such task", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn delete_task(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, task_id)): Path<(Uuid, i64)>,
) -> Result<StatusCode, ApiError> {
    found(
        task_id,
        app.database(tasks::delete(&app.pool, caller.user_id, task_id))
            .await?,
    )?;
    Ok(StatusCode::NO_CONTENT)
}

fn found(id: i64, task: Option<Task>) -> Result<Task, ApiError> {
    task.ok_or_else(|| ApiError::NotFound(format!("Task {id} not found")))
}
