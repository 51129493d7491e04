//! The messages of a conversation, as its user reads them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgExecutor;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::chat::ToolCallView;

/// A stored message as its user sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Message {
    /// The id.
    pub id: Uuid,
    /// Its sequence number within the conversation, from 1.
    pub seq: i64,
    /// `user`, `assistant` or `tool`.
    pub role: String,
    /// The text. For a tool: its result as JSON.
    pub content: String,
    /// For the assistant: every tool call of the run. Otherwise null.
    #[schema(value_type = Option<Vec<ToolCallView>>, required = true)]
    pub tool_calls: Option<serde_json::Value>,
    /// For a tool: the model's id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// For a tool: its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The run that it belongs to.
    pub run_id: Uuid,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// Returns a page of messages with sequence numbers below `before`, newest first.
///
/// # Errors
/// A database error.
pub async fn page(
    executor: impl PgExecutor<'_>,
    conversation_id: Uuid,
    before: Option<i64>,
    with_tools: bool,
    limit: i64,
) -> Result<Vec<Message>, sqlx::Error> {
    sqlx::query_as!(
        Message,
        r#"
        SELECT id, seq, role, content, tool_calls, tool_call_id, name, run_id, created_at FROM messages
        WHERE conversation_id = $1 AND seq < COALESCE($2, 9223372036854775807) AND ($3 OR role <> 'tool')
        ORDER BY seq DESC LIMIT $4
        "#,
        conversation_id,
        before,
        with_tools,
        limit
    )
    .fetch_all(executor)
    .await
}
