//! The tasks (to-do items) of a user.
//!
//! Every statement is restricted to one user. Writers lock the user's counter row first, so two runs that change the same
//! tasks in opposite order cannot deadlock.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

/// A to-do item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Task {
    /// The task's number among the user's tasks: 1, 2, 3 …, never reused.
    #[schema(minimum = 1)]
    pub id: i64,
    /// 1 to 255 characters.
    pub title: String,
    /// 1 to 2000 characters, or null.
    pub description: Option<String>,
    /// Whether the task is completed.
    pub completed: bool,
    /// When the task was added.
    pub created_at: DateTime<Utc>,
    /// When the task last changed.
    pub updated_at: DateTime<Utc>,
}

/// Selects tasks of a user. The default selects all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Only completed or only open tasks.
    pub completed: Option<bool>,
    /// Only tasks with this text in the title or the description, ignoring case. There are no wildcards.
    pub search: Option<&'a str>,
}

/// Changes to a task. The default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change<'a> {
    /// The new title.
    pub title: Option<&'a str>,
    /// The new description. An empty text removes it.
    pub description: Option<&'a str>,
    /// Whether the task is completed.
    pub completed: Option<bool>,
}

/// A task to add.
#[derive(Clone, Copy, Debug)]
pub struct NewTask<'a> {
    /// The user.
    pub user_id: Uuid,
    /// The title.
    pub title: &'a str,
    /// The description. An empty text means none.
    pub description: Option<&'a str>,
}

/// [`add_all`] for one task.
///
/// # Errors
/// As for [`add_all`].
pub async fn add(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    title: &str,
    description: Option<&str>,
) -> Result<Task, sqlx::Error> {
    let task = NewTask {
        user_id,
        title,
        description,
    };
    let added = add_all(executor, &[task]).await?;
    added.into_iter().next().ok_or(sqlx::Error::RowNotFound)
}

/// Adds tasks of any users with one statement. Each task gets its user's next number, in the order given.
///
/// # Errors
/// A database error, also if a user does not exist or a text violates a constraint.
pub async fn add_all(executor: impl PgExecutor<'_>, tasks: &[NewTask<'_>]) -> Result<Vec<Task>, sqlx::Error> {
    let user_ids: Vec<_> = tasks.iter().map(|task| task.user_id).collect();
    let titles: Vec<_> = tasks.iter().map(|task| task.title).collect();
    let descriptions: Vec<_> = tasks.iter().map(|task| task.description).collect();
    sqlx::query_file_as!(
        Task,
        "src/storage/tasks/add_all.sql",
        &user_ids,
        &titles as &[&str],
        &descriptions as &[Option<&str>],
    )
    .fetch_all(executor)
    .await
}

/// Returns a page of the user's tasks by number, and the total over all pages, also for a page beyond the last.
///
/// # Errors
/// A database error.
pub async fn list(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    filter: Filter<'_>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Task>, i64), sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        WITH matching AS NOT MATERIALIZED (
            SELECT * FROM tasks
            WHERE user_id = $1 AND ($2::boolean IS NULL OR completed = $2)
              AND ($3::text IS NULL
                   OR strpos(lower(title), lower($3)) > 0 OR strpos(lower(description), lower($3)) > 0)
        )
        SELECT counted.total AS "total!", page.number AS "id?", page.title AS "title?", page.description,
               page.completed AS "completed?", page.created_at AS "created_at?", page.updated_at AS "updated_at?"
        FROM (SELECT count(*) AS total FROM matching) AS counted
        LEFT JOIN (SELECT * FROM matching ORDER BY number LIMIT $4 OFFSET $5) AS page ON true
        ORDER BY page.number
        "#,
        user_id,
        filter.completed,
        filter.search,
        limit,
        offset
    )
    .fetch_all(executor)
    .await?;
    let total = rows.first().map_or(0, |row| row.total);
    let tasks = rows
        .into_iter()
        // A page beyond the last is one row that contains the total and no task.
        .filter_map(|row| {
            Some(Task {
                id: row.id?,
                title: row.title?,
                description: row.description,
                completed: row.completed?,
                created_at: row.created_at?,
                updated_at: row.updated_at?,
            })
        })
        .collect();
    Ok((tasks, total))
}

/// Finds a task of the user. None if there is no such task.
///
/// # Errors
/// A database error.
pub async fn get(executor: impl PgExecutor<'_>, user_id: Uuid, id: i64) -> Result<Option<Task>, sqlx::Error> {
    sqlx::query_as!(
        Task,
        r#"
        SELECT number AS id, title, description, completed, created_at, updated_at FROM tasks
        WHERE user_id = $1 AND number = $2
        "#,
        user_id,
        id
    )
    .fetch_optional(executor)
    .await
}

/// Marks a task as completed or as open. None if there is no such task.
///
/// # Errors
/// A database error.
pub async fn set_completed(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    id: i64,
    completed: bool,
) -> Result<Option<Task>, sqlx::Error> {
    update(
        executor,
        user_id,
        id,
        Change {
            completed: Some(completed),
            ..Change::default()
        },
    )
    .await
}

/// Changes a task. `updated_at` changes only if another column does. None if there is no such task.
///
/// # Errors
/// A database error, also if a text violates a constraint.
pub async fn update(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    id: i64,
    change: Change<'_>,
) -> Result<Option<Task>, sqlx::Error> {
    sqlx::query_as!(
        Task,
        r#"
        WITH counter AS (SELECT user_id FROM task_counters WHERE user_id = $1 FOR UPDATE)
        UPDATE tasks AS t SET
            title = COALESCE($3, t.title),
            description = CASE WHEN $4::text IS NULL THEN t.description ELSE NULLIF($4, '') END,
            completed = COALESCE($5, t.completed),
            updated_at = CASE
                WHEN (COALESCE($3, t.title), COALESCE($4, t.description, ''), COALESCE($5, t.completed))
                     = (t.title, COALESCE(t.description, ''), t.completed) THEN t.updated_at
                ELSE now() END
        FROM counter
        WHERE t.user_id = counter.user_id AND t.number = $2
        RETURNING t.number AS id, t.title, t.description, t.completed, t.created_at, t.updated_at
        "#,
        user_id,
        id,
        change.title,
        change.description,
        change.completed
    )
    .fetch_optional(executor)
    .await
}

/// Deletes a task and returns it as it was. None if there is no such task.
///
/// # Errors
/// A database error.
pub async fn delete(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    id: i64,
) -> Result<Option<Task>, sqlx::Error> {
    sqlx::query_as!(
        Task,
        r#"
        WITH counter AS (SELECT user_id FROM task_counters WHERE user_id = $1 FOR UPDATE)
        DELETE FROM tasks AS t USING counter
        WHERE t.user_id = counter.user_id AND t.number = $2
        RETURNING t.number AS id, t.title, t.description, t.completed, t.created_at, t.updated_at
        "#,
        user_id,
        id
    )
    .fetch_optional(executor)
    .await
}
