//! Whole responses: JSON with a status.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

use crate::wire::{ErrorBody, Invalid};

/// A JSON response.
pub(super) fn json_response(status: StatusCode, body: impl Into<Body>) -> Response {
    with_type(status, HeaderValue::from_static("application/json"), body)
}

/// A JSON response of something serializable.
pub(super) fn json_of(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_response(status, bytes),
        Err(error) => {
            tracing::error!(%error, "could not serialize an answer");
            json_response(StatusCode::INTERNAL_SERVER_ERROR, "{}")
        }
    }
}

/// A response of any type.
pub(super) fn with_type(status: StatusCode, content_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// An error in the shape that clients parse.
pub(super) fn error(
    status: StatusCode,
    message: &str,
    kind: &str,
    param: Option<&str>,
    code: Option<&str>,
) -> Response {
    json_of(status, &ErrorBody::new(message, kind, param, code))
}

/// The answer to a request that breaks a rule.
pub(super) fn bad_request(invalid: &Invalid) -> Response {
    error(
        StatusCode::BAD_REQUEST,
        &invalid.message,
        "invalid_request_error",
        invalid.param.as_deref(),
        invalid.code,
    )
}

/// An error status that a script asks for, with the body a provider would send.
pub(super) fn scripted_status(code: u16, retry_after: Option<&str>, body: Option<String>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        Some(body) => json_response(status, body),
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
