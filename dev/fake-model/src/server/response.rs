//! Builds complete responses, mostly JSON.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

use crate::wire::{ErrorBody, InvalidRequest};

/// A response with a JSON text.
pub(super) fn json_text(status: StatusCode, body: impl Into<Body>) -> Response {
    with_type(status, HeaderValue::from_static("application/json"), body)
}

/// A response with `value` as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_text(status, bytes),
        Err(error) => {
            tracing::error!(%error, "could not serialize a response");
            json_text(StatusCode::INTERNAL_SERVER_ERROR, "{}")
        }
    }
}

/// A response with any content type.
pub(super) fn with_type(status: StatusCode, content_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// A response with `OpenAI`'s error object.
pub(super) fn error(
    status: StatusCode,
    message: &str,
    kind: &str,
    param: Option<&str>,
    code: Option<&str>,
) -> Response {
    json(status, &ErrorBody::new(message, kind, param, code))
}

/// Status 400, for a request that failed validation.
pub(super) fn bad_request(invalid: &InvalidRequest) -> Response {
    error(
        StatusCode::BAD_REQUEST,
        &invalid.message,
        "invalid_request_error",
        invalid.param.as_deref(),
        invalid.code,
    )
}

/// An error status with `body`, or by default the error object that `OpenAI` sends with this status.
pub(super) fn error_status(code: u16, retry_after: Option<&str>, body: Option<String>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        Some(body) => json_text(status, body),
        None => match code {
            401 => error(
                status,
                "Incorrect API key provided.",
                "invalid_request_error",
                None,
                Some("invalid_api_key"),
            ),
            404 => error(
                status,
                "The model does not exist or you do not have access to it.",
                "invalid_request_error",
                None,
                Some("model_not_found"),
            ),
            429 => error(
                status,
                "Rate limit reached.",
                "requests",
                None,
                Some("rate_limit_exceeded"),
            ),
            400..=499 => error(
                status,
                "The request is not acceptable.",
                "invalid_request_error",
                None,
                None,
            ),
            _ => error(
                status,
                "The server had an error while processing your request.",
                "server_error",
                None,
                None,
            ),
        },
    };
    if let Some(value) = retry_after.and_then(|value| HeaderValue::from_str(value).ok()) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("retry-after"), value);
    }
    response
}
