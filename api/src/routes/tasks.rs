//! `/api/{user_id}/tasks`: the to-do list, with the same validation rules as the agent's tools.

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
        openapi::{BodyRefusals, CallerRefusals, TaskNotFound},
        query::Query,
    },
    state::AppState,
};

mod wire;

use wire::{ChangeTask, NewTask, TaskPage, TaskQuery};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_tasks, add_task))
        .routes(routes!(read_task, change_task, delete_task))
}

/// List the tasks, oldest first.
#[utoipa::path(
    get, path = "/api/{user_id}/tasks", tag = "tasks", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("completed" = Option<bool>, Query, description = "Only completed tasks (true) or only open ones (false)"),
        ("search" = Option<String>, Query, max_length = 255, description = "Only tasks with this text in their title or description, ignoring case"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Maximum number of tasks on the page; 50 by default"),
        ("offset" = Option<i64>, Query, minimum = 0, description = "Number of tasks to skip; 0 by default"),
        ("cursor" = Option<String>, Query, min_length = 1, description = "`next_cursor` of the previous page, instead of `offset`. The filters must be repeated"),
    ),
    responses((status = 200, description = "The page", body = TaskPage), CallerRefusals)
)]
async fn list_tasks(
    State(app): State<AppState>,
    caller: Caller,
    Query(query): Query<TaskQuery>,
) -> Result<Json<TaskPage>, ApiError> {
    let filter = Filter {
        completed: query.completed,
        search: query.search.as_deref(),
    };
    let found = tasks::list(
        &app.database.pool,
        caller.user_id,
        filter,
        query.limit,
        query.offset,
    );
    let (items, total) = app.database.run(found).await?;
    Ok(Json(TaskPage::new(items, total, query.offset)))
}

/// Add a task.
#[utoipa::path(
    post, path = "/api/{user_id}/tasks", tag = "tasks", security(("bearer" = [])),
    params(("user_id" = Uuid, Path, description = "The id of the caller")),
    request_body = NewTask,
    responses(
        (status = 201, description = "The task", body = Task, headers(("Location" = String, description = "The URL of the task"))),
        CallerRefusals, BodyRefusals,
    )
)]
async fn add_task(
    State(app): State<AppState>,
    caller: Caller,
    JsonBody(new): JsonBody<NewTask>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Task>), ApiError> {
    let title = rules::title(&new.title)?;
    let description = new.description.as_deref().map(rules::description).transpose()?;
    let task = app
        .database
        .run(tasks::add(&app.database.pool, caller.user_id, title, description))
        .await?;
    let location = format!("/api/{}/tasks/{}", caller.user_id, task.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(task)))
}

/// Get a task.
#[utoipa::path(
    get, path = "/api/{user_id}/tasks/{task_id}", tag = "tasks", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("task_id" = i64, Path, minimum = 1, description = "The id of the task"),
    ),
    responses(
        (status = 200, description = "The task", body = Task),
        TaskNotFound,
        CallerRefusals,
    )
)]
async fn read_task(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, task_id)): Path<(Uuid, i64)>,
) -> Result<Json<Task>, ApiError> {
    found(
        task_id,
        app.database
            .run(tasks::get(&app.database.pool, caller.user_id, task_id))
            .await?,
    )
    .map(Json)
}

/// Update a task.
///
/// Absent fields are not changed. At least one field is required.
#[utoipa::path(
    patch, path = "/api/{user_id}/tasks/{task_id}", tag = "tasks", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("task_id" = i64, Path, minimum = 1, description = "The id of the task"),
    ),
    request_body = ChangeTask,
    responses(
        (status = 200, description = "The updated task", body = Task),
        TaskNotFound,
        CallerRefusals, BodyRefusals,
    )
)]
async fn change_task(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, task_id)): Path<(Uuid, i64)>,
    JsonBody(request): JsonBody<ChangeTask>,
) -> Result<Json<Task>, ApiError> {
    let change = Change {
        title: request.title.as_deref().map(rules::title).transpose()?,
        description: request
            .description
            .as_deref()
            .map(rules::description)
            .transpose()?,
        completed: request.completed,
    };
    if change == Change::default() {
        return Err(ApiError::invalid(
            "",
            "at least one of title, description and completed is required",
        ));
    }
    found(
        task_id,
        app.database
            .run(tasks::update(&app.database.pool, caller.user_id, task_id, change))
            .await?,
    )
    .map(Json)
}

/// Delete a task.
#[utoipa::path(
    delete, path = "/api/{user_id}/tasks/{task_id}", tag = "tasks", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("task_id" = i64, Path, minimum = 1, description = "The id of the task"),
    ),
    responses(
        (status = 204, description = "The task is deleted. Its id is not reused"),
        TaskNotFound,
        CallerRefusals,
    )
)]
async fn delete_task(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, task_id)): Path<(Uuid, i64)>,
) -> Result<StatusCode, ApiError> {
    found(
        task_id,
        app.database
            .run(tasks::delete(&app.database.pool, caller.user_id, task_id))
            .await?,
    )?;
    Ok(StatusCode::NO_CONTENT)
}

fn found(id: i64, task: Option<Task>) -> Result<Task, ApiError> {
    task.ok_or_else(|| ApiError::NotFound(format!("Task {id} not found")))
}
