//! Reads JSON bodies. Every failure is a problem response that names the invalid field.

use std::time::Duration;

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRef, FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, header},
};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// A JSON object as the request body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// Limits of a request body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: u32,
    /// How long the body may take to arrive.
    pub(crate) timeout: Duration,
}

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
    BodyLimits: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        parse(&read(request, BodyLimits::from_ref(state)).await?).map(Self)
    }
}

/// Reads the whole body.
///
/// # Errors
/// 413 if it is too large, 408 if it takes too long, 400 if it is incomplete.
pub(crate) async fn read(request: Request, limits: BodyLimits) -> Result<Bytes, ApiError> {
    let BodyLimits { max_bytes, timeout } = limits;
    // A `Content-Length` that is too large is rejected before the body arrives.
    if request.body().size_hint().lower() > u64::from(max_bytes) {
        return Err(ApiError::TooLarge(max_bytes));
    }
    match tokio::time::timeout(timeout, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(rejection))) if rejection.status() == 413 => {
            Err(ApiError::TooLarge(max_bytes))
        }
        Ok(Err(rejection)) => Err(ApiError::BadRequest(rejection.body_text())),
        Err(_elapsed) => Err(ApiError::BodyTimeout),
    }
}

/// Whether the content type is JSON, or a JSON-based media type.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let essence = value
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            essence == "application/json"
                || (essence.starts_with("application/") && essence.ends_with("+json"))
        })
}

/// Parses a JSON object.
///
/// # Errors
/// 400 if the body is not JSON, 422 if it is not a valid `T`.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // Serde would also accept an array for a struct, which is not part of the API.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) => Err(ApiError::invalid("", "The request body must be a JSON object.")),
            Err(error) => Err(not_json(&error)),
        };
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            invalid_field(&path, &error)
        } else {
            not_json(&error)
        }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// A 422 that names the invalid field. Serde names a missing field only in the text of its error.
fn invalid_field(path: &str, error: &serde_json::Error) -> ApiError {
    let reason = reason(error);
    let missing = reason
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    match missing {
        Some(name) => ApiError::invalid(name, "is required"),
        None if path == "." => ApiError::invalid("", reason),
        None => ApiError::invalid(path, reason),
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    ApiError::BadRequest(format!(
        "The request body is not JSON (line {}, column {}).",
        error.line(),
        error.column()
    ))
}

/// The error without line and column: the field's path is more useful.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.as_str(), |(reason, _)| reason)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Body {
        #[expect(dead_code, reason = "only its parsing matters")]
        message: String,
    }

    fn status_of(body: &str) -> String {
        match parse::<Body>(body.as_bytes()) {
            Ok(_) => "ok".to_owned(),
            Err(ApiError::BadRequest(_)) => "400".to_owned(),
            Err(ApiError::Invalid(errors)) => format!("422 {}", errors[0].field),
            Err(other) => other.to_string(),
        }
    }

    #[test]
    fn malformed_json_is_400_and_an_invalid_field_is_422() {
        assert_eq!(status_of(r#"{"message":"hi"}"#), "ok");
        assert_eq!(status_of(""), "400");
        assert_eq!(status_of("{"), "400");
        assert_eq!(status_of(r#"{"message":"hi"} x"#), "400");
        assert_eq!(status_of(r#"{"message":"\ud800"}"#), "400");
        assert_eq!(status_of(r#"{"message":1}"#), "422 message");
        assert_eq!(status_of("{}"), "422 message");
        assert_eq!(status_of("[]"), "422 ");
        assert_eq!(status_of(r#"["hi"]"#), "422 ");
        assert_eq!(status_of("7"), "422 ");
        assert_eq!(status_of(&"[".repeat(10_000)), "400");
    }
}
