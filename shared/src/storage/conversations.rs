//! Conversations: list, find, rename, delete.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

/// A conversation as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Conversation {
    /// The id.
    pub id: Uuid,
    /// The title.
    #[schema(min_length = 1, max_length = 255)]
    pub title: String,
    /// The agent, or null for the default agent.
    #[schema(required = true)]
    pub agent: Option<String>,
    /// Its first open run, or null.
    #[schema(required = true)]
    pub active_run_id: Option<Uuid>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When a message was last added, or the title changed.
    pub updated_at: DateTime<Utc>,
}

/// Returns a page of a user's conversations, most recently updated first. `after` is the `(updated_at, id)` of the last
/// conversation of the previous page.
///
/// # Errors
/// A database error.
pub async fn page(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Conversation>, sqlx::Error> {
    let (updated_at, id) = after.unzip();
    sqlx::query_as!(
        Conversation,
        r#"
        SELECT c.id, c.title, c.agent, c.created_at, c.updated_at,
            (SELECT r.id FROM runs r WHERE r.user_id = c.user_id AND r.conversation_id = c.id
                AND r.status IN ('queued', 'running', 'waiting_approval') -- open run
                ORDER BY r.seq LIMIT 1) AS active_run_id
        FROM conversations c
        WHERE c.user_id = $1 AND ($2::timestamptz IS NULL OR (c.updated_at, c.id) < ($2, $3::uuid))
        ORDER BY c.updated_at DESC, c.id DESC LIMIT $4
        "#,
        user_id,
        updated_at,
        id,
        limit
    )
    .fetch_all(executor)
    .await
}

/// Finds a conversation of a user.
///
/// # Errors
/// A database error.
pub async fn find(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    id: Uuid,
) -> Result<Option<Conversation>, sqlx::Error> {
    sqlx::query_as!(
        Conversation,
        r#"
        SELECT c.id, c.title, c.agent, c.created_at, c.updated_at,
            (SELECT r.id FROM runs r WHERE r.user_id = c.user_id AND r.conversation_id = c.id
                AND r.status IN ('queued', 'running', 'waiting_approval') -- open run
                ORDER BY r.seq LIMIT 1) AS active_run_id
        FROM conversations c WHERE c.user_id = $1 AND c.id = $2
        "#,
        user_id,
        id
    )
    .fetch_optional(executor)
    .await
}

/// Renames a conversation and returns it. None if it does not exist or belongs to another user.
///
/// # Errors
/// A database error, also if the title violates a constraint.
pub async fn rename(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    id: Uuid,
    title: &str,
) -> Result<Option<Conversation>, sqlx::Error> {
    sqlx::query_as!(
        Conversation,
        r#"
        UPDATE conversations c SET title = $3, updated_at = now() WHERE c.user_id = $1 AND c.id = $2
        RETURNING c.id, c.title, c.agent, c.created_at, c.updated_at,
            (SELECT r.id FROM runs r WHERE r.user_id = c.user_id AND r.conversation_id = c.id
                AND r.status IN ('queued', 'running', 'waiting_approval') -- open run
                ORDER BY r.seq LIMIT 1) AS active_run_id
        "#,
        user_id,
        id,
        title
    )
    .fetch_optional(executor)
    .await
}

/// Locks a conversation before its deletion: until the transaction ends, no message is added and no run finishes.
/// False if it does not exist or belongs to another user.
///
/// # Errors
/// A database error.
pub async fn lock(executor: impl PgExecutor<'_>, user_id: Uuid, id: Uuid) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM conversations WHERE user_id = $1 AND id = $2 FOR UPDATE",
        user_id,
        id
    )
    .fetch_optional(executor)
    .await?;
    Ok(found.is_some())
}

/// Deletes a conversation with its messages and runs. False if it does not exist or belongs to another user.
///
/// # Errors
/// A database error.
pub async fn delete(executor: impl PgExecutor<'_>, user_id: Uuid, id: Uuid) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM conversations WHERE user_id = $1 AND id = $2",
        user_id,
        id
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}
