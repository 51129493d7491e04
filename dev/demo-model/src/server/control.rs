//! The control endpoint, for callers in another process. Off unless asked for.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State as Shared,
    http::StatusCode,
    response::Response,
    routing::{get, put},
};
use serde_json::json;

use super::{
    State,
    answer::{self, json_of},
};
use crate::Script;

/// The routes under `/__control`.
pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route(
            "/__control/script",
            put(set_script).post(add_script).get(get_script),
        )
        .route("/__control/requests", get(requests).delete(clear_requests))
        .route("/__control/counts", get(counts))
}

async fn set_script(Shared(state): Shared<Arc<State>>, body: Bytes) -> Response {
    install(&body, |script| *state.script() = script)
}

async fn add_script(Shared(state): Shared<Arc<State>>, body: Bytes) -> Response {
    install(&body, |script| state.script().extend(script))
}

fn install(body: &[u8], with: impl FnOnce(Script)) -> Response {
    match serde_json::from_slice(body) {
        Ok(script) => {
            with(script);
            answer::json_response(StatusCode::OK, r#"{"ok":true}"#)
        }
        Err(error) => {
            let message = format!("This is not a script: {error}");
            answer::error(
                StatusCode::BAD_REQUEST,
                &message,
                "invalid_request_error",
                None,
                None,
            )
        }
    }
}

/// What is left of the script.
async fn get_script(Shared(state): Shared<Arc<State>>) -> Response {
    json_of(StatusCode::OK, &*state.script())
}

async fn requests(Shared(state): Shared<Arc<State>>) -> Response {
    let items: Vec<_> = state
        .recorder
        .list()
        .iter()
        .map(|recorded| {
            json!({
                "number": recorded.number,
                "path": recorded.path,
                "authorization": recorded.authorization,
                "body": recorded.json(),
                "rejected": recorded.rejected,
            })
        })
        .collect();
    json_of(StatusCode::OK, &items)
}

async fn clear_requests(Shared(state): Shared<Arc<State>>) -> Response {
    state.recorder.clear();
    answer::json_response(StatusCode::OK, r#"{"ok":true}"#)
}

async fn counts(Shared(state): Shared<Arc<State>>) -> Response {
    let counts = state.recorder.counts();
    json_of(
        StatusCode::OK,
        &json!({"received": counts.received, "in_flight": counts.in_flight}),
    )
}
