//! What handlers take from a request, refused with a problem.

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, header},
};
use serde::de::DeserializeOwned;

use crate::{http::error::ApiError, state::App};

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        parse(&read(request, app).await?).map(Self)
    }
}

/// Reads a body to its end, within the bounds of the settings.
///
/// # Errors
/// 413 and 408 for one beyond them; 400 for one that broke off.
pub(crate) async fn read(request: Request, app: &App) -> Result<Bytes, ApiError> {
    let http = &app.settings.http;
    let max = http.http_body_max_bytes;
    let patience = http.http_body_timeout_ms;
    // Told before it is sent, if its sender says how large it is.
    if request.body().size_hint().lower() > u64::from(max) {
        return Err(ApiError::TooLarge(max));
    }
    match tokio::time::timeout(patience, Bytes::from_request(request, app)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(rejection))) if rejection.status() == 413 => {
            Err(ApiError::TooLarge(max))
        }
        Ok(Err(rejection)) => Err(ApiError::BadRequest(rejection.body_text())),
        Err(_elapsed) => Err(ApiError::BodyTimeout),
    }
}

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

/// Reads a JSON object.
///
/// # Errors
/// 400 for what is no JSON, 422 for JSON that breaks a rule.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // Serde reads a struct from an array as well, which nobody is promised.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
            Ok(_) => Err(ApiError::invalid("", "The request's body must be a JSON object.")),
            Err(error) => Err(not_json(&error)),
        };
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            broken_rule(&path, &error)
        } else {
            not_json(&error)
        }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// The member that breaks a rule; one that is missing is named only in the error's text.
fn broken_rule(path: &str, error: &serde_json::Error) -> ApiError {
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
        "The request's body is not JSON (line {}, column {}).",
        error.line(),
        error.column()
    ))
}

/// The error without its place, which the path tells better.
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
    fn what_is_not_json_is_400_and_what_breaks_a_rule_is_422() {
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
