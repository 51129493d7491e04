//! HTTP responses for a run: the status by the run's state, and `Server-Timing`.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use errand_shared::{
    Uuid,
    domain::{chat::ChatResponse, run::RunStatus, timing::RunTiming},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ChatState, queue_position::QueuePosition};
use crate::http::error::PROBLEM_JSON;

/// `Retry-After` of a 202, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// A failed or cancelled run as a problem (RFC 9457). `status` is the status of the run, not the HTTP status.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RunEnded {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The name of the HTTP status.
    pub(crate) title: &'static str,
    /// A description of what happened.
    pub(crate) detail: String,
    /// The run.
    #[serde(flatten)]
    pub(crate) run: ChatResponse,
}

/// A run that has not finished.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Pending {
    /// The current state of the run.
    #[serde(flatten)]
    run: ChatResponse,
    /// The position in the queue. Only present while the run is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueuePosition>,
}

/// The response to `POST chat`: 200, 409 or 502 for a finished run, 202 for any other.
pub(crate) async fn chat_response(chat: &ChatState, user_id: Uuid, run: &ChatResponse) -> Response {
    match run.status {
        RunStatus::Succeeded => Json(run).into_response(),
        RunStatus::Failed => {
            let detail = run
                .problem
                .as_ref()
                .map_or_else(String::new, |problem| problem.detail.clone());
            ended(StatusCode::BAD_GATEWAY, "Bad Gateway", detail, run)
        }
        RunStatus::Cancelled => ended(
            StatusCode::CONFLICT,
            "Conflict",
            "The run was cancelled.".to_owned(),
            run,
        ),
        RunStatus::Queued | RunStatus::Running | RunStatus::WaitingApproval => {
            pending(chat, user_id, run).await
        }
    }
}

/// The response to `GET runs/{run_id}`: 200 for any finished run, 202 for any other.
pub(crate) async fn run_status(chat: &ChatState, user_id: Uuid, run: &ChatResponse) -> Response {
    if run.status.is_final() {
        Json(run).into_response()
    } else {
        pending(chat, user_id, run).await
    }
}

/// A 202 with the run, its URL and its position in the queue.
pub(crate) async fn pending(chat: &ChatState, user_id: Uuid, run: &ChatResponse) -> Response {
    let queue = match run.status {
        RunStatus::Queued => chat.queue_estimator.position(&chat.database.pool, user_id).await,
        _ => None,
    };
    let mut response = (
        StatusCode::ACCEPTED,
        Json(Pending {
            run: run.clone(),
            queue,
        }),
    )
        .into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/api/{user_id}/runs/{}", run.run_id)) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    response
}

/// Adds `Preference-Applied: wait` (RFC 7240).
pub(crate) fn set_preference_applied(response: &mut Response) {
    response
        .headers_mut()
        .insert(PREFERENCE_APPLIED, HeaderValue::from_static("wait"));
}

/// Adds `Server-Timing` (W3C): the time it took to accept the message and the phases of the run, in milliseconds.
pub(crate) fn set_server_timing(
    response: &mut Response,
    accept_time: Option<Duration>,
    run: Option<RunTiming>,
) {
    let accept = accept_time.map(|time| ("accept", time));
    let phases = run.map(|run| {
        [
            ("queue", run.queue()),
            ("model", run.model()),
            ("tools", run.tools()),
            ("persist", run.persist()),
        ]
    });
    let entries: Vec<_> = accept
        .into_iter()
        .chain(phases.into_iter().flatten())
        .map(|(name, time)| format!("{name};dur={:.3}", time.as_secs_f64() * 1000.0))
        .collect();
    if let Ok(value) = HeaderValue::try_from(entries.join(", "))
        && !value.is_empty()
    {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
}

fn ended(status: StatusCode, title: &'static str, detail: String, run: &ChatResponse) -> Response {
    let body = RunEnded {
        kind: "about:blank",
        title,
        detail,
        run: run.clone(),
    };
    (
        status,
        [(header::CONTENT_TYPE, PROBLEM_JSON)],
        Json(body).into_response().into_body(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_timing(accept_time: Option<Duration>, run: Option<RunTiming>) -> Option<String> {
        let mut response = Response::default();
        set_server_timing(&mut response, accept_time, run);
        let value = response.headers().get(SERVER_TIMING)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn server_timing_lists_the_known_times_in_milliseconds() {
        let millis = Duration::from_millis;
        let run = RunTiming::new(millis(1), Duration::from_micros(50_250), millis(3), millis(4));
        assert_eq!(server_timing(None, None), None);
        assert_eq!(server_timing(Some(millis(2)), None).unwrap(), "accept;dur=2.000");
        assert_eq!(
            server_timing(Some(millis(2)), Some(run)).unwrap(),
            "accept;dur=2.000, queue;dur=1.000, model;dur=50.250, tools;dur=3.000, persist;dur=4.000"
        );
    }
}
