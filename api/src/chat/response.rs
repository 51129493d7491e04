//! A run as the answer to a chat, by where it stands.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use errand_shared::{
    Uuid,
    domain::{chat::ChatResponse, run::RunStatus},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{chat::queue_position::QueuePlace, http::problem::PROBLEM_JSON, state::App};

/// Seconds after which a caller that stopped waiting may ask again.
const ASK_AGAIN: u64 = 1;

/// The problem of a chat whose run failed or was cancelled: the run's answer, which says `status: "failed"` or
/// `"cancelled"` where other problems repeat the HTTP status, and a problem's members.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RunEnded {
    /// `about:blank`: the status says it all.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The HTTP status in words.
    pub(crate) title: &'static str,
    /// A sentence for a person.
    pub(crate) detail: String,
    /// The run.
    #[serde(flatten)]
    pub(crate) run: ChatResponse,
}

/// A run that has not ended, and where it stands if it waits for a worker.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Pending {
    /// The run so far.
    #[serde(flatten)]
    run: ChatResponse,
    /// Its place in the queue, if it waits for a worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueuePlace>,
}

/// The answer to `POST chat`.
pub(crate) async fn to_chat(app: &App, user_id: Uuid, run: &ChatResponse) -> Response {
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
            pending(app, user_id, run).await
        }
    }
}

/// The answer to a look at the run: 200 however it ended.
pub(crate) async fn to_look(app: &App, user_id: Uuid, run: &ChatResponse) -> Response {
    if run.status.is_final() {
        Json(run).into_response()
    } else {
        pending(app, user_id, run).await
    }
}

/// 202: where the run is to be found, when to look, and where it stands.
pub(crate) async fn pending(app: &App, user_id: Uuid, run: &ChatResponse) -> Response {
    let queue = match run.status {
        RunStatus::Queued => app.outlook.place(app, user_id).await,
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
    headers.insert(header::RETRY_AFTER, ASK_AGAIN.into());
    response
}

/// Says that the caller's preference was heeded (RFC 7240).
pub(crate) fn preference_applied(response: &mut Response) {
    response.headers_mut().insert(
        HeaderName::from_static("preference-applied"),
        HeaderValue::from_static("wait"),
    );
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
