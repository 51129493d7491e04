//! `POST /api/{user_id}/chat`.

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderValue},
    response::Response,
};
use errand_shared::{Uuid, domain::chat::ChatResponse};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Caller,
    chat::{
        self, Accepted, IfRunning, NewMessage,
        response::{self, Pending, RunEnded},
    },
    http::{
        error::{ApiError, Problem},
        extract::Json,
        openapi::BodyRefusals,
        request_id::RequestId,
        wait_preference::WaitPreference,
    },
    live::{self, RunStream, RunSubscription},
    state::AppState,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(post))
}

/// A message to the agent.
#[derive(Debug, Deserialize, ToSchema)]
struct ChatRequest {
    /// The text: 1 to 2000 characters, not blank, without U+0000.
    #[schema(min_length = 1, max_length = 2000)]
    message: String,
    /// The conversation to continue. A new conversation is created if this is null or absent.
    #[serde(default)]
    conversation_id: Option<Uuid>,
    /// The name of the agent of a new conversation. The default agent is used if this is null or absent. Must be absent for an
    /// existing conversation.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    agent: Option<String>,
    /// What happens if another message of the conversation is still being answered: `queue` lets this message wait, `reject`
    /// returns 409 with `active_run_id` and stores nothing.
    #[serde(default)]
    if_running: IfRunning,
}

/// Send a message and wait for the reply.
///
/// The message is stored before it is answered. A 202 means that it has not been answered yet; `Location` is the URL of its
/// run.
///
/// With `Accept: text/event-stream`, the response is a stream of the run's events, as from
/// `GET …/runs/{run_id}/events`. Errors are JSON in either case.
#[utoipa::path(
    post, path = "/api/{user_id}/chat", tag = "chat", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("Prefer" = Option<String>, Header, description = "`wait=S` waits at most S seconds for the reply; `respond-async` does not wait"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[ -~]+$", description = "A key of 1 to 255 printable characters. A second request with the same key and the same fields returns the run of the first"),
    ),
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The reply", body = ChatResponse),
        (status = 202, description = "The message is stored but not answered yet", body = Pending,
            headers(("Location" = String, description = "The URL of the run"), ("Retry-After" = u64, description = "Seconds until the client should ask again"))),
        (status = 404, description = "No such conversation. Nothing was stored", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The run was cancelled; or another run is open and `if_running` is `reject` (see `active_run_id`; nothing was stored)", body = RunEnded, content_type = "application/problem+json"),
        (status = 422, description = "A field is invalid. Nothing was stored", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many messages or too many open runs. Nothing was stored", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The run failed. The message remains stored and can be retried", body = RunEnded, content_type = "application/problem+json"),
        BodyRefusals,
        (status = 401, description = "The token is missing or invalid", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token belongs to another user", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "An internal error occurred", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The queue is full (nothing was stored), or the database is unavailable (see `run_id`)", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn post(
    State(app): State<AppState>,
    caller: Caller,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Json(request): Json<ChatRequest>,
) -> Result<Response, ApiError> {
    let preference = WaitPreference::from_headers(&headers, &app.settings.chat)?;
    let key = headers.get("idempotency-key").map(text_of).transpose()?;
    let message = NewMessage::new(
        caller.user_id,
        request.message,
        request.conversation_id,
        request.if_running,
        key,
    )?
    .with_agent(request.agent, &app.chat.agents)?
    .with_request_id(&request_id);
    let wants_events = live::accepts_event_stream(&headers);
    // A header keeps the whole buffer of the request in memory, and the wait may be long.
    drop(headers);
    if wants_events {
        return Box::pin(stream(app, caller.user_id, message)).await;
    }
    let (snapshot, accept_time) = chat::post_and_wait(&app.chat, message, preference.timeout).await?;
    let mut response = Box::pin(response::chat_response(&app.chat, caller.user_id, &snapshot.run)).await;
    response::set_server_timing(&mut response, Some(accept_time), snapshot.timing);
    if preference.is_explicit {
        response::set_preference_applied(&mut response);
    }
    Ok(response)
}

/// Stores the message and streams the events of its run. The run continues even if the client disconnects.
async fn stream(app: AppState, user_id: Uuid, message: NewMessage) -> Result<Response, ApiError> {
    // Before the commit, so that no event can be missed.
    let events = live::subscribe(&app.live, user_id).await;
    let (subscription, first) = match chat::accept(&app.chat, message).await? {
        Accepted::New(run, wait) => {
            let (subscription, queued) = RunSubscription::for_new_run(&app.live, user_id, &run, wait)?;
            (subscription, vec![queued])
        }
        Accepted::Existing(run_id) => match RunSubscription::resume(&app.live, user_id, run_id, 0).await? {
            Some(resumed) => resumed,
            None => return Err(ApiError::run_not_found(run_id)),
        },
    };
    let stream = RunStream::new(app.live.clone(), events, subscription, first);
    Ok(live::event_stream_response(stream))
}

fn text_of(value: &HeaderValue) -> Result<&str, ApiError> {
    value
        .to_str()
        .map_err(|_not_ascii| ApiError::invalid("Idempotency-Key", "must be printable ASCII characters"))
}

#[cfg(test)]
mod tests {
    use axum::{extract::FromRequestParts, http::request::Parts};

    use super::*;

    /// The size of a handler's future in bytes.
    fn future_size<F>(
        _: impl Fn(State<AppState>, Caller, Extension<RequestId>, HeaderMap, Json<ChatRequest>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// The size of an extractor's future in bytes.
    fn extractor_future_size<'a, F>(_: impl Fn(&'a mut Parts, &'a AppState) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand requests may wait at the same time, each in a future as large as the largest of these.
    #[test]
    fn a_waiting_request_is_small() {
        let handler = future_size(post);
        assert!(handler <= 2560, "{handler}");
        let caller = extractor_future_size(<Caller as FromRequestParts<AppState>>::from_request_parts);
        assert!(caller <= 1024, "{caller}");
    }
}
