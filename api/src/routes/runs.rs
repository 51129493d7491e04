//! `/api/{user_id}/runs/{run_id}`: look and wait, cancel, retry.

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
    service::failpoints::{self, Failpoint},
    storage::runs::{self, RetryOutcome},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::Caller,
    chat::{
        self, cancel,
        response::{self, Pending},
        server_timing,
    },
    http::{error::ApiError, openapi::Refusals, problem::Problem, query::Params, wait_preference},
    live::{self, RunSubscription, Streamed},
    state::App,
};

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(look))
        .routes(routes!(cancel_run))
        .routes(routes!(retry))
        .routes(routes!(read_events))
}

/// Look at a run, or wait for its end.
#[utoipa::path(
    get, path = "/api/{user_id}/runs/{run_id}", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("run_id" = Uuid, Path, description = "The run"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for the run's end; 0 if absent"),
    ),
    responses(
        (status = 200, description = "The run is final, however it ended", body = ChatResponse),
        (status = 202, description = "The run is still open", body = Pending),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn look(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, run_id)): Path<(Uuid, Uuid)>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let wait = wait_of(query.as_deref(), &app)?;
    let told = chat::attach(&app, caller.user_id, run_id, wait).await?;
    let mut response = response::to_look(&app, caller.user_id, &told.run).await;
    server_timing::tell(&mut response, None, told.timing);
    Ok(response)
}

fn wait_of(query: Option<&str>, app: &App) -> Result<Duration, ApiError> {
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
/// A queued run ends at once, a running one as soon as its worker hears of it. What its tools have done stays done.
#[utoipa::path(
    post, path = "/api/{user_id}/runs/{run_id}/cancel", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("run_id" = Uuid, Path, description = "The run"),
    ),
    responses(
        (status = 200, description = "The run was final already and stays as it is", body = ChatResponse),
        (status = 202, description = "The run ends", body = Pending),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn cancel_run(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, run_id)): Path<(Uuid, Uuid)>,
) -> Result<Response, ApiError> {
    let was_final = cancel::cancel(&app, caller.user_id, run_id).await?.is_final();
    let run = app
        .database(runs::response(&app.pool, caller.user_id, run_id))
        .await?;
    let run = run.ok_or_else(|| chat::no_run(run_id))?;
    Ok(if was_final {
        Json(run).into_response()
    } else {
        response::pending(&app, caller.user_id, &run).await
    })
}

/// Try a failed or cancelled run again.
///
/// Only the last run of its conversation can be tried again; it keeps its id, and what its tools have done stays done.
#[utoipa::path(
    post, path = "/api/{user_id}/runs/{run_id}/retry", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("run_id" = Uuid, Path, description = "The run"),
    ),
    responses(
        (status = 202, description = "Queued again", body = Pending),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        Refusals,
        (status = 409, description = "It has not failed, or is not the last of its conversation", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn retry(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, run_id)): Path<(Uuid, Uuid)>,
) -> Result<(StatusCode, Response), ApiError> {
    match app
        .database(runs::retry(&app.pool, caller.user_id, run_id))
        .await?
    {
        RetryOutcome::Queued(queued) => {
            failpoints::hit(Failpoint::RetryCommitted);
            app.notifier.publish_queued(&queued, app.clock.now());
            app.notifier.notify_ready(caller.user_id, run_id);
        }
        RetryOutcome::NotRetryable => return Err(not_retryable()),
        RetryOutcome::NotFound => return Err(chat::no_run(run_id)),
    }
    let run = app
        .database(runs::response(&app.pool, caller.user_id, run_id))
        .await?;
    let run = run.ok_or_else(|| chat::no_run(run_id))?;
    Ok((
        StatusCode::ACCEPTED,
        response::pending(&app, caller.user_id, &run).await,
    ))
}

/// Why a run is not tried again.
pub(crate) fn not_retryable() -> ApiError {
    ApiError::Conflict(
        "Only a failed or cancelled run that is the last of its conversation can be tried again".to_owned(),
    )
}

/// Read a run's events as they happen.
///
/// Server-sent events: `id` is the event's number, `event` its type, `data` the whole of it. The stream ends after the
/// run's final event, which always comes. Whoever comes late, or comes back with `Last-Event-ID`, is told what they have
/// missed: the events themselves, or else what has been done so far and the text so far.
#[utoipa::path(
    get, path = "/api/{user_id}/runs/{run_id}/events", tag = "runs", security(("bearer" = [])),
    params(
        ("user_id" = Uuid, Path, description = "The caller's own id"),
        ("run_id" = Uuid, Path, description = "The run"),
        ("after_seq" = Option<i64>, Query, minimum = 0, description = "Number of the last event seen; `Last-Event-ID` counts before it"),
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "Number of the last event seen"),
    ),
    responses(
        (status = 200, description = "The events", body = Event<'static>, content_type = "text/event-stream"),
        (status = 204, description = "The last event seen was the final one: there is nothing to come back for"),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
async fn read_events(
    State(app): State<App>,
    caller: Caller,
    Path((_user_id, run_id)): Path<(Uuid, Uuid)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let after = live::after_of(&headers, &Params::of(&uri)?)?;
    let reading = live::begin(&app, caller.user_id).await;
    Ok(
        match RunSubscription::begin(&app, caller.user_id, run_id, after).await? {
            Some((follow, first)) => live::respond(Streamed::new(app, reading, follow, first)),
            None => StatusCode::NO_CONTENT.into_response(),
        },
    )
}
