//! `/api/{user_id}/conversations`: list, read, rename, delete.

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
    chat::{self, cancel},
    http::{
        cursor::AfterConversation,
        error::ApiError,
        extract::Json as JsonBody,
        openapi::{BodyRefusals, Refusals},
        problem::Problem,
        query::{FromQuery, Params, Query},
    },
    state::App,
};

/// The routes of conversations.
pub(crate) fn router() -> OpenApiRouter<App> {
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
    /// The conversations, the one where something happened last first.
    items: Vec<Conversation>,
    /// `cursor` of the next page, or null at the end.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Which conversations.
#[derive(Debug)]
struct Which {
    limit: i64,
    after: Option<AfterConversation>,
}

impl FromQuery for Which {
    fn from_query(params: &Params) -> Result<Self, ApiError> {
        let after = params.cursor("cursor", AfterConversation::decode)?;
        Ok(Self {
            limit: params.limit()?,
            after,
        })
    }
}

/// List the conversations, the one where something happened last first.
#[utoipa::path(
    get, path = "/api/{user_id}/conversations", tag = "conversations", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Conversations on the page, at most; 50 if absent"),
        ("cursor" = Option<String>, Query, min_length = 1, description = "`next_cursor` of the page after which to go on"),
    ),
    responses((status = 200, description = "The page", body = ConversationPage), Refusals)
)]
async fn list_conversations(
    State(app): State<App>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Json<ConversationPage>, ApiError> {
    let after = which.after.map(|after| (after.updated_at, after.id));
    // One more than asked for tells whether there are more.
    let found = conversations::page(&app.pool, caller.user_id, after, which.limit + 1);
    Ok(Json(page(app.database(found).await?, which.limit)))
}

fn page(mut items: Vec<Conversation>, limit: i64) -> ConversationPage {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next_cursor = last.map(|last| {
        AfterConversation {
            updated_at: last.updated_at,
            id: last.id,
        }
        .encode()
    });
    ConversationPage { items, next_cursor }
}

/// Read a conversation.
#[utoipa::path(
    get, path = "/api/{user_id}/conversations/{conversation_id}", tag = "conversations", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("conversation_id" = Uuid, Path, description = "The conversation"),
    ),
    responses(
        (status = 200, description = "The conversation", body = Conversation),
        (status = 404, description = "No such conversation", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn read_conversation(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, conversation_id)): Path<(Uuid, Uuid)>,
) -> Result<Json<Conversation>, ApiError> {
    let found = app
        .database(conversations::find(&app.pool, caller.user_id, conversation_id))
        .await?;
    found
        .map(Json)
        .ok_or_else(|| chat::no_conversation(conversation_id))
}

/// A conversation's new name.
#[derive(Debug, Deserialize, ToSchema)]
struct RenameConversation {
    /// 1 to 255 characters, not all of them white space, without U+0000.
    #[schema(min_length = 1, max_length = 255)]
    title: String,
}

/// Rename a conversation.
#[utoipa::path(
    patch, path = "/api/{user_id}/conversations/{conversation_id}", tag = "conversations", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("conversation_id" = Uuid, Path, description = "The conversation"),
    ),
    request_body = RenameConversation,
    responses(
        (status = 200, description = "The conversation under its new name", body = Conversation),
        (status = 404, description = "No such conversation", body = Problem, content_type = "application/problem+json"),
        Refusals, BodyRefusals,
    )
)]
async fn rename_conversation(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, conversation_id)): Path<(Uuid, Uuid)>,
    JsonBody(change): JsonBody<RenameConversation>,
) -> Result<Json<Conversation>, ApiError> {
    // The title of a conversation has the bounds of a task's.
    let title = rules::title(&change.title)?;
    let renamed = conversations::rename(&app.pool, caller.user_id, conversation_id, title);
    app.database(renamed)
        .await?
        .map(Json)
        .ok_or_else(|| chat::no_conversation(conversation_id))
}

/// Delete a conversation with its messages.
///
/// Runs that are open are cancelled first: who waits for one is told so. What their tools have done stays done.
#[utoipa::path(
    delete, path = "/api/{user_id}/conversations/{conversation_id}", tag = "conversations", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("conversation_id" = Uuid, Path, description = "The conversation"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such conversation", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn delete_conversation(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, conversation_id)): Path<(Uuid, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let cancelled = app
        .database(delete(&app, caller.user_id, conversation_id))
        .await?;
    let (open, ends) = cancelled.ok_or_else(|| chat::no_conversation(conversation_id))?;
    for end in ends {
        app.notifier.publish_run_finished(&end);
    }
    cancel::call_workers(&app, &open);
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels and deletes in one transaction, under the lock with which messages come in and runs end: no run slips in
/// between, and none is cancelled for a conversation that stays. Returns the runs that were open and the last word of each;
/// a worker that holds one finds its lease gone. None if the conversation is not there.
async fn delete(
    app: &App,
    user_id: Uuid,
    conversation_id: Uuid,
) -> Result<Option<(Vec<CancelTarget>, Vec<RunEnd>)>, sqlx::Error> {
    let mut connection = app.pool.get().await?;
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
    let at = app.clock.now();
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
    fn a_page_names_the_next_one_only_if_there_is_one() {
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
