//! `/api/{user_id}/conversations/{conversation_id}/messages`: the messages of a conversation.

use axum::{
    Json,
    extract::{Path, State},
};
use errand_shared::{
    Uuid,
    storage::{
        conversations,
        messages::{self, Message},
    },
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Caller,
    http::{
        cursor::BeforeMessage,
        error::ApiError,
        openapi::{CallerRefusals, ConversationNotFound},
        query::{FromQuery, Params, Query},
    },
    state::AppState,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_messages))
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
struct MessagePage {
    /// The messages, oldest first.
    items: Vec<Message>,
    /// The `before` of the page with older messages, or null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// The query of `list_messages`.
#[derive(Debug)]
struct MessageQuery {
    limit: i64,
    before: Option<BeforeMessage>,
    with_tools: bool,
}

impl FromQuery for MessageQuery {
    fn from_query(params: &Params) -> Result<Self, ApiError> {
        let with_tools = match params.text("include")? {
            None => false,
            Some("tool") => true,
            Some(_) => return Err(ApiError::invalid("include", "must be tool")),
        };
        let before = params.cursor("before", BeforeMessage::decode)?;
        Ok(Self {
            limit: params.limit()?,
            before,
            with_tools,
        })
    }
}

/// List the messages of a conversation.
///
/// Without `before`, the page contains the newest messages. With `before`, it contains the messages before the page that
/// returned the cursor. A page is ordered oldest first.
#[utoipa::path(
    get, path = "/api/{user_id}/conversations/{conversation_id}/messages", tag = "conversations",
    security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("conversation_id" = Uuid, Path, description = "The conversation"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Maximum number of messages on the page; 50 by default"),
        ("before" = Option<String>, Query, min_length = 1, description = "`next_cursor` of the page with newer messages"),
        ("include" = Option<String>, Query, pattern = "^tool$", description = "`tool` also returns the results of tools"),
    ),
    responses(
        (status = 200, description = "The page", body = MessagePage),
        ConversationNotFound,
        CallerRefusals,
    )
)]
async fn list_messages(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, conversation_id)): Path<(Uuid, Uuid)>,
    Query(query): Query<MessageQuery>,
) -> Result<Json<MessagePage>, ApiError> {
    let found = app
        .database
        .run(read(&app, caller.user_id, conversation_id, &query))
        .await?;
    let newest_first = found.ok_or_else(|| ApiError::conversation_not_found(conversation_id))?;
    Ok(Json(page(newest_first, query.limit)))
}

/// The messages, newest first. One more message than the page has shows whether there is a next page. None if there is no such
/// conversation.
async fn read(
    app: &AppState,
    user_id: Uuid,
    conversation_id: Uuid,
    query: &MessageQuery,
) -> Result<Option<Vec<Message>>, sqlx::Error> {
    if conversations::find(&app.database.pool, user_id, conversation_id)
        .await?
        .is_none()
    {
        return Ok(None);
    }
    let before = query.before.map(|before| before.seq);
    messages::page(
        &app.database.pool,
        conversation_id,
        before,
        query.with_tools,
        query.limit + 1,
    )
    .await
    .map(Some)
}

fn page(mut newest_first: Vec<Message>, limit: i64) -> MessagePage {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = newest_first.len() > limit;
    newest_first.truncate(limit);
    let oldest = newest_first.last().filter(|_| has_more);
    let next_cursor = oldest.map(|message| BeforeMessage { seq: message.seq }.encode());
    newest_first.reverse();
    MessagePage {
        items: newest_first,
        next_cursor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(seqs: impl IntoIterator<Item = i64>) -> Vec<Message> {
        let message = |seq| Message {
            id: Uuid::nil(),
            seq,
            role: "user".to_owned(),
            content: String::new(),
            tool_calls: None,
            tool_call_id: None,
            name: None,
            run_id: Uuid::nil(),
            created_at: chrono::DateTime::UNIX_EPOCH,
        };
        seqs.into_iter().map(message).collect()
    }

    #[test]
    fn a_page_is_oldest_first_and_only_the_last_has_no_cursor() {
        let whole = page(messages([3, 2, 1]), 3);
        assert_eq!(whole.items, messages([1, 2, 3]));
        assert_eq!(whole.next_cursor, None);

        let first = page(messages([9, 8, 7]), 2);
        assert_eq!(first.items, messages([8, 9]));
        let next = first.next_cursor.as_deref().and_then(BeforeMessage::decode);
        assert_eq!(next, Some(BeforeMessage { seq: 8 }));

        let empty = page(Vec::new(), 1);
        assert!(empty.items.is_empty() && empty.next_cursor.is_none());
    }

    #[test]
    fn only_tool_messages_have_a_name_and_a_tool_call_id() {
        let mut message = messages([1]).remove(0);
        let user_message = serde_json::to_value(&message).unwrap();
        assert_eq!(user_message["tool_calls"], serde_json::Value::Null);
        assert!(
            user_message.get("tool_calls").is_some()
                && user_message.get("name").is_none()
                && user_message.get("tool_call_id").is_none()
        );
        message.name = Some("add_task".to_owned());
        message.tool_call_id = Some("call_1".to_owned());
        let result = serde_json::to_value(&message).unwrap();
        assert_eq!(
            (&result["name"], &result["tool_call_id"]),
            (&"add_task".into(), &"call_1".into())
        );
    }
}
