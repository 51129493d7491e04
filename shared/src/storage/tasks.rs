//! The to-do items of a user.
//!
//! Every statement is bound to the user. Whoever writes locks the user's counter row first, so that the writers of one
//! user take turns: two runs that touch the same tasks in opposite order cannot deadlock.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

/// A to-do item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Task {
    /// A small number of that user's own: 1, 2, 3 …, never used again.
    #[schema(minimum = 1)]
    pub id: i64,
    /// 1 to 255 characters.
    pub title: String,
    /// 1 to 2000 characters, or none.
    pub description: Option<String>,
    /// Whether it is done.
    pub completed: bool,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Which of a user's tasks are meant. The default is all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Only completed ones, or only open ones.
    pub completed: Option<bool>,
    /// Only those with this text in title or description, whatever its case. No character is a wildcard.
    pub search: Option<&'a str>,
}

/// What is to change of a task. The default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change<'a> {
    /// The new title.
    pub title: Option<&'a str>,
    /// The new description; an empty one clears it.
    pub description: Option<&'a str>,
    /// Whether it is done.
    pub completed: Option<bool>,
}

/// A task to add.
#[derive(Clone, Copy, Debug)]
pub struct NewTask<'a> {
    /// Whose.
    pub user_id: Uuid,
    /// What it is called.
    pub title: &'a str,
    /// What else is to say; an empty text is none.
    pub description: Option<&'a str>,
}

/// Adds a task under the user's next number; [`add_all`] for one.
///
/// # Errors
/// As [`add_all`].
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

/// Adds tasks of any users, each under its user's next number in the order given; one statement for all.
///
/// # Errors
/// A fault of Postgres; also if there is no such user, or if a text breaks the table's rules.
pub async fn add_all(executor: impl PgExecutor<'_>, tasks: &[NewTask<'_>]) -> Result<Vec<Task>, sqlx::Error> {
    let user_ids: Vec<_> = tasks.iter().map(|task| task.user_id).collect();
    let titles: Vec<_> = tasks.iter().map(|task| task.title).collect();
    let descriptions: Vec<_> = tasks.iter().map(|task| task.description).collect();
    sqlx::query_as!(
        Task,
        r#"
        WITH input AS MATERIALIZED (
            SELECT i.*, row_number() OVER (PARTITION BY i.user_id ORDER BY i.ord) AS nth,
                count(*) OVER (PARTITION BY i.user_id) AS many
            FROM unnest($1::uuid[], $2::text[], $3::text[])
                WITH ORDINALITY AS i (user_id, title, description, ord)
        ), counter AS (
            INSERT INTO task_counters AS c (user_id, last_number)
            SELECT user_id, count(*) FROM input GROUP BY user_id ORDER BY user_id
            ON CONFLICT (user_id) DO UPDATE SET last_number = c.last_number + EXCLUDED.last_number
            RETURNING c.user_id, c.last_number
        ), numbered AS MATERIALIZED (
            SELECT i.*, c.last_number - i.many + i.nth AS number
            FROM input i JOIN counter c ON c.user_id = i.user_id
        ), added AS (
            INSERT INTO tasks (user_id, number, title, description)
            SELECT user_id, number, title, NULLIF(description, '') FROM numbered
            RETURNING *
        )
        SELECT a.number AS "id!", a.title AS "title!", a.description, a.completed AS "completed!",
            a.created_at AS "created_at!", a.updated_at AS "updated_at!"
        FROM added a JOIN numbered n ON n.user_id = a.user_id AND n.number = a.number
        ORDER BY n.ord
        "#,
        &user_ids,
        &titles as &[&str],
        &descriptions as &[Option<&str>],
    )
    .fetch_all(executor)
    .await
}

/// A page of the user's tasks by number, and how many there are over all pages, also when the page lies beyond them.
///
/// # Errors
/// A fault of Postgres.
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
        // A page beyond the end is one row that holds the total and no task.
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

/// One task of the user. None if there is no such task.
///
/// # Errors
/// A fault of Postgres.
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

/// Marks a task as done or as open. None if there is no such task.
///
/// # Errors
/// A fault of Postgres.
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

/// Changes a task. `updated_at` moves only if something is different afterwards. None if there is no such task.
///
/// # Errors
/// A fault of Postgres; also if a text breaks the table's rules.
pub async fn update(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    id: i64,
    change: Change<'_>,
) -> Result<Option<Task>, sqlx::Error> {
    sqlx::query_as!(
        Task,
        r#"
        WITH turn AS (SELECT user_id FROM task_counters WHERE user_id = $1 FOR UPDATE)
        UPDATE tasks AS t SET
            title = COALESCE($3, t.title),
            description = CASE WHEN $4::text IS NULL THEN t.description ELSE NULLIF($4, '') END,
            completed = COALESCE($5, t.completed),
            updated_at = CASE
                WHEN (COALESCE($3, t.title), COALESCE($4, t.description, ''), COALESCE($5, t.completed))
                     = (t.title, COALESCE(t.description, ''), t.completed) THEN t.updated_at
                ELSE now() END
        FROM turn
        WHERE t.user_id = turn.user_id AND t.number = $2
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
/// A fault of Postgres.
pub async fn delete(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    id: i64,
) -> Result<Option<Task>, sqlx::Error> {
    sqlx::query_as!(
        Task,
        r#"
        WITH turn AS (SELECT user_id FROM task_counters WHERE user_id = $1 FOR UPDATE)
        DELETE FROM tasks AS t USING turn
        WHERE t.user_id = turn.user_id AND t.number = $2
        RETURNING t.number AS id, t.title, t.description, t.completed, t.created_at, t.updated_at
        "#,
        user_id,
        id
    )
    .fetch_optional(executor)
    .await
}
