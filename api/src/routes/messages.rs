//! `/api/{user_id}/conversations/{conversation_id}/messages`: what was said.

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
    chat,
    http::{
        cursor::BeforeMessage,
        error::ApiError,
        openapi::Refusals,
        problem::Problem,
        query::{FromQuery, Params, Query},
    },
    state::App,
};

/// The routes of messages.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_messages))
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
struct MessagePage {
    /// The messages in the order they were said.
    items: Vec<Message>,
    /// `before` of the page with older messages, or null if there are none.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Which messages.
#[derive(Debug)]
struct Which {
    limit: i64,
    before: Option<BeforeMessage>,
    with_tools: bool,
}

impl FromQuery for Which {
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

/// Read the messages of a conversation.
///
/// Without `before` the page holds the newest messages, with it those before the page that gave the cursor. Within a
/// page they stand in the order they were said.
#[utoipa::path(
    get, path = "/api/{user_id}/conversations/{conversation_id}/messages", tag = "conversations",
    security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("conversation_id" = Uuid, Path, description = "The conversation"),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Messages on the page, at most; 50 if absent"),
        ("before" = Option<String>, Query, min_length = 1, description = "`next_cursor` of the page after which to go on, towards older messages"),
        ("include" = Option<String>, Query, pattern = "^tool$", description = "`tool` for the results of tools too"),
    ),
    responses(
        (status = 200, description = "The page", body = MessagePage),
        (status = 404, description = "No such conversation", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn list_messages(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, conversation_id)): Path<(Uuid, Uuid)>,
    Query(which): Query<Which>,
) -> Result<Json<MessagePage>, ApiError> {
    let found = app
        .database(read(&app, caller.user_id, conversation_id, &which))
        .await?;
    let newest_first = found.ok_or_else(|| chat::no_conversation(conversation_id))?;
    Ok(Json(page(newest_first, which.limit)))
}

/// The messages, newest first, and one more than asked for if there is one. None if the conversation is not there.
async fn read(
    app: &App,
    user_id: Uuid,
    conversation_id: Uuid,
    which: &Which,
) -> Result<Option<Vec<Message>>, sqlx::Error> {
    if conversations::find(&app.pool, user_id, conversation_id)
        .await?
        .is_none()
    {
        return Ok(None);
    }
    let before = which.before.map(|before| before.seq);
    messages::page(
        &app.pool,
        conversation_id,
        before,
        which.with_tools,
        which.limit + 1,
    )
    .await
    .map(Some)
}

fn page(mut newest_first: Vec<Message>, limit: i64) -> MessagePage {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = newest_first.len() > limit;
    newest_first.truncate(limit);
    let oldest = newest_first.last().filter(|_| more);
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
    fn a_page_stands_in_order_and_names_the_next_one_only_if_there_is_one() {
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
    fn only_messages_of_tools_have_a_tools_members() {
        let mut message = messages([1]).remove(0);
        let said = serde_json::to_value(&message).unwrap();
        assert_eq!(said["tool_calls"], serde_json::Value::Null);
        assert!(
            said.get("tool_calls").is_some()
                && said.get("name").is_none()
                && said.get("tool_call_id").is_none()
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
