//! The routes under `/__control`, with which another process sets the script and reads the recorded requests.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State as Shared,
    http::StatusCode,
    response::Response,
    routing::{get, put},
};
use serde_json::json as object;

use super::{
    State,
    response::{self, json},
};
use crate::Script;

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
    parse_script(&body, |script| *state.script() = script)
}

async fn add_script(Shared(state): Shared<Arc<State>>, body: Bytes) -> Response {
    parse_script(&body, |script| state.script().extend(script))
}

fn parse_script(body: &[u8], apply: impl FnOnce(Script)) -> Response {
    match serde_json::from_slice(body) {
        Ok(script) => {
            apply(script);
            response::json_text(StatusCode::OK, r#"{"ok":true}"#)
        }
        Err(error) => {
            let message = format!("Invalid script: {error}");
            response::error(
                StatusCode::BAD_REQUEST,
                &message,
                "invalid_request_error",
                None,
                None,
            )
        }
    }
}

/// The rest of the script.
async fn get_script(Shared(state): Shared<Arc<State>>) -> Response {
    json(StatusCode::OK, &*state.script())
}

async fn requests(Shared(state): Shared<Arc<State>>) -> Response {
    let items: Vec<_> = state
        .recorder
        .list()
        .iter()
        .map(|recorded| {
            object!({
                "number": recorded.number,
                "path": recorded.path,
                "authorization": recorded.authorization,
                "body": recorded.json(),
                "rejected": recorded.rejected,
            })
        })
        .collect();
    json(StatusCode::OK, &items)
}

async fn clear_requests(Shared(state): Shared<Arc<State>>) -> Response {
    state.recorder.clear();
    response::json_text(StatusCode::OK, r#"{"ok":true}"#)
}

async fn counts(Shared(state): Shared<Arc<State>>) -> Response {
    let counts = state.recorder.counts();
    json(
        StatusCode::OK,
        &object!({"received": counts.received, "in_flight": counts.in_flight}),
    )
}
