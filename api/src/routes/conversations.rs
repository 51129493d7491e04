//! `/api/{user_id}/conversations`: list, read, rename and delete conversations.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use errand_shared::{
    Uuid,
    domain::{
        chat::ChatResponse,
        events::{RunEnd, final_seq},
        run::RunStatus,
    },
    storage::{
        conversations::{self, Conversation},
        runs::{self, CancelTarget, RunView},
    },
};
use errand_task_tools::rules;
use serde::{Deserialize, Serialize};
use sqlx::Connection;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Caller,
    chat::{ChatState, cancel},
    http::{
        cursor::AfterConversation,
        error::ApiError,
        extract::Json as JsonBody,
        openapi::{BodyRefusals, CallerRefusals, ConversationNotFound},
        query::{FromQuery, Params, Query},
    },
    state::AppState,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_conversations))
        .routes(routes!(
            read_conversation,
            rename_conversation,
            delete_conversation
        ))
}

/// A page of conversations.
#[derive(Debug, Serialize, ToSchema)]
struct ConversationPage {
    /// The conversations, ordered by their last change, newest first.
    items: Vec<Conversation>,
    /// The `cursor` of the next page, or null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// The query of `list_conversations`.
#[derive(Debug)]
struct ConversationQuery {
    limit: i64,
    after: Option<AfterConversation>,
}

impl FromQuery for ConversationQuery {
    fn from_query(params: &Params) -> Result<Self, ApiError> {
        let after = params.cursor("cursor", AfterConversation::decode)?;
        Ok(Self {
            limit: params.limit()?,
            after,
        })
    }
}

/// List the conversations, ordered by their last change, newest first.
#[utoipa::path(
    get, path = "/api/{user_id}/conversations", tag = "conversations", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Maximum number of conversations on the page; 50 by default"),
        ("cursor" = Option<String>, Query, min_length = 1, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "The page", body = ConversationPage), CallerRefusals)
)]
async fn list_conversations(
    State(app): State<AppState>,
    caller: Caller,
    Query(query): Query<ConversationQuery>,
) -> Result<Json<ConversationPage>, ApiError> {
    let after = query.after.map(|after| (after.updated_at, after.id));
    // One more conversation than the page has shows whether there is a next page.
    let found = conversations::page(&app.database.pool, caller.user_id, after, query.limit + 1);
    Ok(Json(page(app.database.run(found).await?, query.limit)))
}

fn page(mut items: Vec<Conversation>, limit: i64) -> ConversationPage {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| has_more);
    let next_cursor = last.map(|last| {
        AfterConversation {
            updated_at: last.updated_at,
            id: last.id,
        }
        .encode()
    });
    ConversationPage { items, next_cursor }
}

/// Get a conversation.
#[utoipa::path(
    get, path = "/api/{user_id}/conversations/{conversation_id}", tag = "conversations", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("conversation_id" = Uuid, Path, description = "The conversation"),
    ),
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        ConversationNotFound,
        CallerRefusals,
    )
)]
async fn read_conversation(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, conversation_id)): Path<(Uuid, Uuid)>,
) -> Result<Json<Conversation>, ApiError> {
    let found = app
        .database
        .run(conversations::find(
            &app.database.pool,
            caller.user_id,
            conversation_id,
        ))
        .await?;
    found
        .map(Json)
        .ok_or_else(|| ApiError::conversation_not_found(conversation_id))
}

/// The new title of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
struct RenameConversation {
    /// The title: 1 to 255 characters, not blank, without U+0000.
    #[schema(min_length = 1, max_length = 255)]
    title: String,
}

/// Rename a conversation.
#[utoipa::path(
    patch, path = "/api/{user_id}/conversations/{conversation_id}", tag = "conversations", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("conversation_id" = Uuid, Path, description = "The conversation"),
    ),
    request_body = RenameConversation,
    responses(
        (status = 200, description = "The renamed conversation", body = Conversation),
        ConversationNotFound,
        CallerRefusals, BodyRefusals,
    )
)]
async fn rename_conversation(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, conversation_id)): Path<(Uuid, Uuid)>,
    JsonBody(change): JsonBody<RenameConversation>,
) -> Result<Json<Conversation>, ApiError> {
    // A conversation's title has the same limits as a task's.
    let title = rules::title(&change.title)?;
    let renamed = conversations::rename(&app.database.pool, caller.user_id, conversation_id, title);
    app.database
        .run(renamed)
        .await?
        .map(Json)
        .ok_or_else(|| ApiError::conversation_not_found(conversation_id))
}

/// Delete a conversation and its messages.
///
/// Open runs are cancelled. The changes that their tools made to tasks are kept.
#[utoipa::path(
    delete, path = "/api/{user_id}/conversations/{conversation_id}", tag = "conversations", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("conversation_id" = Uuid, Path, description = "The conversation"),
    ),
    responses(
        (status = 204, description = "The conversation is deleted"),
        ConversationNotFound,
        CallerRefusals,
    )
)]
async fn delete_conversation(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, conversation_id)): Path<(Uuid, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let cancelled = app
        .database
        .run(delete(&app.chat, caller.user_id, conversation_id))
        .await?;
    let (open, ends) = cancelled.ok_or_else(|| ApiError::conversation_not_found(conversation_id))?;
    for end in ends {
        app.chat.notifier.publish_run_finished(&end);
    }
    cancel::command_workers(&app.chat, &open);
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels the open runs and deletes the conversation in one transaction. The conversation is locked as for posting a message
/// and for finishing a run, so no run can be added or finished at the same time. A worker that executes one of the runs loses
/// its lease. Returns the runs that were open and their ends. None if there is no such conversation.
async fn delete(
    chat: &ChatState,
    user_id: Uuid,
    conversation_id: Uuid,
) -> Result<Option<(Vec<CancelTarget>, Vec<RunEnd>)>, sqlx::Error> {
    let mut connection = chat.database.pool.get().await?;
    let mut transaction = connection.begin().await?;
    if !conversations::lock(&mut *transaction, user_id, conversation_id).await? {
        transaction.rollback().await?;
        connection.release();
        return Ok(None);
    }
    let open = runs::request_cancel_all(&mut *transaction, user_id, conversation_id).await?;
    let run_ids: Vec<_> = open.iter().map(|target| target.run_id).collect();
    let so_far = runs::views(&mut *transaction, &run_ids, false).await?;
    conversations::delete(&mut *transaction, user_id, conversation_id).await?;
    transaction.commit().await?;
    connection.release();
    let at = chat.clock.now();
    let cancelled = |run: RunView| RunEnd {
        user_id: run.user_id,
        seq: final_seq(run.epoch + 1),
        attempt: run.attempt,
        at,
        response: ChatResponse {
            status: RunStatus::Cancelled,
            approvals: Vec::new(),
            ..run.response
        },
        timing: None,
    };
    Ok(Some((open, so_far.into_iter().map(cancelled).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversations(seconds: impl IntoIterator<Item = i64>) -> Vec<Conversation> {
        let conversation = |second| Conversation {
            id: Uuid::from_u128(7),
            title: "Chat".to_owned(),
            agent: None,
            active_run_id: None,
            created_at: chrono::DateTime::UNIX_EPOCH,
            updated_at: chrono::DateTime::from_timestamp_secs(second).unwrap(),
        };
        seconds.into_iter().map(conversation).collect()
    }

    #[test]
    fn only_the_last_page_has_no_cursor() {
        let whole = page(conversations([3, 2]), 2);
        assert_eq!((whole.items.len(), whole.next_cursor), (2, None));

        let first = page(conversations([3, 2, 1]), 2);
        assert_eq!(first.items, conversations([3, 2]));
        let next = first
            .next_cursor
            .as_deref()
            .and_then(AfterConversation::decode)
            .unwrap();
        assert_eq!(
            (next.updated_at, next.id),
            (first.items[1].updated_at, first.items[1].id)
        );

        let empty = page(Vec::new(), 1);
        assert!(empty.items.is_empty() && empty.next_cursor.is_none());
    }
}
