//! Answers in place of the server: for sessions that it has lost, and for streams that it doesn't have.

use std::sync::Mutex;

use axum::{
    body::{self, Body},
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::lock;

/// How the server answers a request of a session that it no longer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostSession {
    /// 404, as the protocol demands.
    NotFound,
    /// 400 with a JSON-RPC error that names no request, as servers made from the TypeScript SDK's examples do.
    BadRequest,
    /// 400 with plain text.
    PlainText,
    /// 200 with a JSON-RPC error for the request.
    Error,
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// The sessions that requests have named.
    known: Mutex<Vec<HeaderValue>>,
    forgotten: Mutex<Vec<(HeaderValue, LostSession)>>,
    /// The answer to GET, instead of a stream.
    no_stream: Mutex<Option<StatusCode>>,
}

impl Sessions {
    pub(crate) fn forget(&self, form: LostSession) {
        let known = std::mem::take(&mut *lock(&self.known));
        lock(&self.forgotten).extend(known.into_iter().map(|session| (session, form)));
    }

    pub(crate) fn refuse_streams(&self, status: StatusCode) {
        *lock(&self.no_stream) = Some(status);
    }

    /// Returns the request if the server itself answers it.
    pub(crate) async fn answer(&self, request: Request) -> Result<Response, Request> {
        if let Some(session) = request.headers().get("mcp-session-id").cloned() {
            let lost = lock(&self.forgotten)
                .iter()
                .find_map(|(forgotten, form)| (*forgotten == session).then_some(*form));
            if let Some(form) = lost {
                return Ok(lost_session(form, request).await);
            }
            lock(&self.known).push(session);
        }
        let no_stream = *lock(&self.no_stream);
        match no_stream {
            Some(status) if request.method() == Method::GET => Ok(status.into_response()),
            _ => Err(request),
        }
    }
}

async fn lost_session(form: LostSession, request: Request) -> Response {
    let body = body::to_bytes(request.into_body(), usize::MAX)
        .await
        .unwrap_or_default();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let error = |code: i32, text: &str, id: &Value| {
        let error = json!({"jsonrpc": "2.0", "error": {"code": code, "message": text}, "id": id});
        (
            [(header::CONTENT_TYPE, "application/json")],
            Body::from(error.to_string()),
        )
    };
    match form {
        LostSession::NotFound => (
            StatusCode::NOT_FOUND,
            error(-32001, "Session not found", &Value::Null),
        )
            .into_response(),
        LostSession::BadRequest => {
            let text = "Bad Request: No valid session ID provided";
            (StatusCode::BAD_REQUEST, error(-32000, text, &Value::Null)).into_response()
        }
        LostSession::PlainText => (StatusCode::BAD_REQUEST, "Unknown session").into_response(),
        LostSession::Error => {
            let id = message.get("id").cloned().unwrap_or_default();
            error(-32001, "Session not found", &id).into_response()
        }
    }
}
