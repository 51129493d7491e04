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
        server_timing,
    },
    http::{
        error::ApiError, extract::Json, openapi::BodyRefusals, problem::Problem, request_id::RequestId,
        wait_preference::WaitPreference,
    },
    live::{self, RunSubscription, Streamed},
    state::App,
};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(post))
}

/// A message to the agent.
#[derive(Debug, Deserialize, ToSchema)]
struct ChatRequest {
    /// 1 to 2000 characters, not all of them white space, without U+0000; stored as sent.
    #[schema(min_length = 1, max_length = 2000)]
    message: String,
    /// The conversation to go on with; a new one if null or absent.
    #[serde(default)]
    conversation_id: Option<Uuid>,
    /// The agent of a new conversation, by its name; the default one if null or absent. An existing conversation has its
    /// own.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    agent: Option<String>,
    /// What becomes of the message while another of the conversation is being answered: `queue` lets it wait, `reject`
    /// answers 409 with `active_run_id` and stores nothing.
    #[serde(default)]
    if_running: IfRunning,
}

/// Send a message and wait for the answer.
///
/// With `Accept: text/event-stream` the run's events are streamed in place of the answer, as of
/// `GET …/runs/{run_id}/events`; a message that is refused is refused as JSON.
///
/// The message is stored before it is answered, whatever happens after: a 202 says that the answer is still being made,
/// and where to find it.
#[utoipa::path(
    post, path = "/api/{user_id}/chat", tag = "chat", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("Prefer" = Option<String>, Header, description = "`wait=S` (seconds to wait for the answer) or `respond-async`"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[ -~]+$", description = "1 to 255 printable characters: the same key with the same fields attaches to the first message's run"),
    ),
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer", body = ChatResponse),
        (status = 202, description = "Stored; the answer is still being made", body = Pending,
            headers(("Location" = String, description = "The run"), ("Retry-After" = u64, description = "Seconds"))),
        (status = 404, description = "No such conversation; nothing is stored", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The run was cancelled; or another is open and the message was not to wait (see `active_run_id`, nothing is stored)", body = RunEnded, content_type = "application/problem+json"),
        (status = 422, description = "A rule is broken; nothing is stored", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many messages, or too many open runs; nothing is stored", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The run failed; the message stays stored and can be retried", body = RunEnded, content_type = "application/problem+json"),
        BodyRefusals,
        (status = 401, description = "No token or a bad one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Another user's", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "A fault of the server", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The queue is full (nothing is stored), or the database is away (see `run_id`)", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn post(
    State(app): State<App>,
    caller: Caller,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    Json(request): Json<ChatRequest>,
) -> Result<Response, ApiError> {
    let patience = WaitPreference::of(&headers, &app.settings.chat)?;
    let key = headers.get("idempotency-key").map(text_of).transpose()?;
    let message = NewMessage::new(
        caller.user_id,
        request.message,
        request.conversation_id,
        request.if_running,
        key,
    )?
    .with_agent(request.agent, &app.agents)?
    .brought_by(&request_id);
    let are_events_wanted = live::is_wanted(&headers);
    // Each of them keeps the whole buffer that the request came in, and the answer may take long.
    drop(headers);
    if are_events_wanted {
        return Box::pin(stream(app, caller.user_id, message)).await;
    }
    let (told, accepted) = chat::chat(&app, message, patience.wait).await?;
    let mut response = response::to_chat(&app, caller.user_id, &told.run).await;
    server_timing::tell(&mut response, Some(accepted), told.timing);
    if patience.asked_for {
        response::preference_applied(&mut response);
    }
    Ok(response)
}

/// Stores the message and streams its run, which goes on whether or not it is read.
async fn stream(app: App, user_id: Uuid, message: NewMessage) -> Result<Response, ApiError> {
    // Before the commit, so that no event can be missed.
    let reading = live::begin(&app, user_id).await;
    let (follow, first) = match chat::post(&app, message).await? {
        Accepted::Fresh(run, wait) => {
            let (follow, queued) = RunSubscription::fresh(&app, user_id, &run, wait)?;
            (follow, vec![queued])
        }
        Accepted::Known(run_id) => match RunSubscription::begin(&app, user_id, run_id, 0).await? {
            Some(begun) => begun,
            None => return Err(chat::no_run(run_id)),
        },
    };
    Ok(live::respond(Streamed::new(app, reading, follow, first)))
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

    /// Bytes of what the handler's future holds.
    fn held<F>(
        _: impl Fn(State<App>, Caller, Extension<RequestId>, HeaderMap, Json<ChatRequest>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// The same of an extractor's.
    fn held_by_extractor<'a, F>(_: impl Fn(&'a mut Parts, &'a App) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand of them wait for their answers, in a future that is as large as the largest of these.
    #[test]
    fn a_request_that_waits_is_small() {
        let handler = held(post);
        assert!(handler <= 2560, "{handler}");
        let caller = held_by_extractor(<Caller as FromRequestParts<App>>::from_request_parts);
        assert!(caller <= 1024, "{caller}");
    }
}
