//! `/api/{user_id}/runs/{run_id}`: read a run, wait for it, cancel it, retry it, stream its events.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use errand_shared::{
    Uuid,
    domain::{chat::ChatResponse, events::Event},
    storage::runs,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Caller,
    chat::{
        self, cancel,
        response::{self, Pending},
        retry,
    },
    http::{
        error::ApiError,
        openapi::{CallerRefusals, RunNotFound, RunNotRetryable},
        query::Params,
        wait_preference,
    },
    live::{self, RunStream, RunSubscription},
    state::AppState,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get_run))
        .routes(routes!(cancel_run))
        .routes(routes!(retry))
        .routes(routes!(read_events))
}

/// Get a run, or wait until it finishes.
#[utoipa::path(
    get, path = "/api/{user_id}/runs/{run_id}", operation_id = "look", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("run_id" = Uuid, Path, description = "The run"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait until the run finishes or needs approval; 0 by default"),
    ),
    responses(
        (status = 200, description = "The run has finished, with any status", body = ChatResponse),
        (status = 202, description = "The run has not finished", body = Pending),
        RunNotFound,
        CallerRefusals,
    )
)]
async fn get_run(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, run_id)): Path<(Uuid, Uuid)>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let timeout = wait_parameter(query.as_deref(), &app)?;
    let snapshot = chat::wait_for_run(&app.chat, caller.user_id, run_id, timeout).await?;
    let mut response = response::run_status(&app.chat, caller.user_id, &snapshot.run).await;
    response::set_server_timing(&mut response, None, snapshot.timing);
    Ok(response)
}

fn wait_parameter(query: Option<&str>, app: &AppState) -> Result<Duration, ApiError> {
    let settings = &app.settings.chat;
    query
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("wait="))
        .map_or(Some(Duration::ZERO), |wait| {
            wait_preference::seconds(wait, settings)
        })
        .ok_or_else(|| ApiError::invalid("wait", wait_preference::wait_rule(settings)))
}

/// Cancel a run.
///
/// A queued run ends immediately, a running one as soon as its worker receives the request. The changes that its tools made
/// are kept.
#[utoipa::path(
    post, path = "/api/{user_id}/runs/{run_id}/cancel", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("run_id" = Uuid, Path, description = "The run"),
    ),
    responses(
        (status = 200, description = "The run had already finished and is unchanged", body = ChatResponse),
        (status = 202, description = "The run is being cancelled", body = Pending),
        RunNotFound,
        CallerRefusals,
    )
)]
async fn cancel_run(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, run_id)): Path<(Uuid, Uuid)>,
) -> Result<Response, ApiError> {
    let was_final = cancel::cancel(&app.chat, caller.user_id, run_id)
        .await?
        .is_final();
    let run = find(&app, caller.user_id, run_id).await?;
    Ok(if was_final {
        Json(run).into_response()
    } else {
        response::pending(&app.chat, caller.user_id, &run).await
    })
}

async fn find(app: &AppState, user_id: Uuid, run_id: Uuid) -> Result<ChatResponse, ApiError> {
    let run = runs::response(&app.database.pool, user_id, run_id);
    let run = app.database.run(run).await?;
    run.ok_or_else(|| ApiError::run_not_found(run_id))
}

/// Retry a failed or cancelled run.
///
/// Only the last run of a conversation can be retried. The run keeps its id, and the changes that its tools made are kept.
#[utoipa::path(
    post, path = "/api/{user_id}/runs/{run_id}/retry", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("run_id" = Uuid, Path, description = "The run"),
    ),
    responses(
        (status = 202, description = "The run is queued again", body = Pending),
        RunNotFound,
        CallerRefusals,
        RunNotRetryable,
    )
)]
async fn retry(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, run_id)): Path<(Uuid, Uuid)>,
) -> Result<(StatusCode, Response), ApiError> {
    retry::retry(&app.chat, caller.user_id, run_id).await?;
    let run = find(&app, caller.user_id, run_id).await?;
    Ok((
        StatusCode::ACCEPTED,
        response::pending(&app.chat, caller.user_id, &run).await,
    ))
}

/// Stream the events of a run.
///
/// The response is a stream of server-sent events: `id` is the number of the event, `event` its type and `data` the event as
/// JSON. The stream ends after the final event of the run, which is always sent. A client that connects late, or reconnects
/// with `Last-Event-ID`, first receives the events it missed or, if they are no longer available, events that describe the
/// current state of the run.
#[utoipa::path(
    get, path = "/api/{user_id}/runs/{run_id}/events", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The id of the caller"),
        ("run_id" = Uuid, Path, description = "The run"),
        ("after_seq" = Option<i64>, Query, minimum = 0, description = "Number of the last event that the client received; `Last-Event-ID` takes precedence"),
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "Number of the last event that the client received"),
    ),
    responses(
        (status = 200, description = "The events", body = Event<'static>, content_type = "text/event-stream"),
        (status = 204, description = "The client has already received the final event"),
        RunNotFound,
        CallerRefusals,
    )
)]
async fn read_events(
    State(app): State<AppState>,
    caller: Caller,
    Path((_user_id, run_id)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let after = live::last_seen_event(&headers, &Params::of(&uri)?)?;
    let events = live::subscribe(&app.live, caller.user_id).await;
    let resumed = RunSubscription::resume(&app.live, caller.user_id, run_id, after).await?;
    Ok(match resumed {
        Some((subscription, first)) => {
            let stream = RunStream::new(app.live.clone(), events, subscription, first);
            live::event_stream_response(stream)
        }
        None => StatusCode::NO_CONTENT.into_response(),
    })
}
