use serde_json::json;

use super::*;

fn of_status(status: u16, body: &str) -> ProviderError {
    ProviderError::in_response(status, &HeaderMap::new(), body.as_bytes())
}

/// Status, body and the kind of the error.
const ERRORS: &[(u16, &str, ErrorKind)] = &[
    (
        400,
        r#"{"error":{"message":"no","type":"invalid_request_error","code":"unsupported_parameter"}}"#,
        ErrorKind::BadRequest,
    ),
    (
        422,
        r#"{"detail":[{"type":"extra_forbidden","loc":["body","x"]}]}"#,
        ErrorKind::BadRequest,
    ),
    (302, "<html>", ErrorKind::BadRequest),
    (
        500,
        r#"{"error":{"code":500,"message":"tools param requires --jinja flag"}}"#,
        ErrorKind::BadRequest,
    ),
    (
        401,
        r#"{"error":{"message":"the model does not exist"}}"#,
        ErrorKind::Authentication,
    ),
    (
        403,
        r#"{"code":"forbidden","message":"Forbidden"}"#,
        ErrorKind::Authentication,
    ),
    (
        400,
        r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]"#,
        ErrorKind::Authentication,
    ),
    (402, "{}", ErrorKind::Quota),
    (
        429,
        r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
        ErrorKind::Quota,
    ),
    (
        429,
        r#"{"error":{"message":"You exceeded your current quota"}}"#,
        ErrorKind::Quota,
    ),
    (
        429,
        r#"[{"error":{"message":"You exceeded your current quota","details":[{"retryDelay":"3s"}]}}]"#,
        ErrorKind::RateLimited,
    ),
    (429, "slow down", ErrorKind::RateLimited),
    (
        400,
        r#"{"error":{"type":"rate_limit_error","message":""}}"#,
        ErrorKind::RateLimited,
    ),
    (404, r#"{"error":"Not Found"}"#, ErrorKind::UnknownModel),
    (
        400,
        r#"{"object":"error","message":"Invalid model: x","type":"invalid_model","code":"1500"}"#,
        ErrorKind::UnknownModel,
    ),
    (
        400,
        r#"{"error":{"code":"model_decommissioned","message":"gone"}}"#,
        ErrorKind::UnknownModel,
    ),
    (413, "", ErrorKind::ContextTooLong),
    (
        400,
        r#"{"error":{"code":"context_length_exceeded","message":"long"}}"#,
        ErrorKind::ContextTooLong,
    ),
    (
        400,
        r#"{"error":"prompt too long; exceeded max context length by 9 tokens"}"#,
        ErrorKind::ContextTooLong,
    ),
    (
        429,
        r#"{"error":{"message":"Request too large. The input or output tokens must be reduced."}}"#,
        ErrorKind::ContextTooLong,
    ),
    (
        400,
        r#"{"error":{"code":"content_filter","message":"filtered"}}"#,
        ErrorKind::ContentFilter,
    ),
    (
        403,
        r#"{"error":{"code":403,"message":"This model requires moderation, your input was flagged"}}"#,
        ErrorKind::ContentFilter,
    ),
    (
        400,
        r#"{"error":{"code":"tool_use_failed","failed_generation":"<function"}}"#,
        ErrorKind::UnreadableToolCall,
    ),
    (
        400,
        r#"{"error":{"message":"?","failed_generation":""}}"#,
        ErrorKind::UnreadableToolCall,
    ),
    (
        500,
        r#"{"error":{"message":"failed to decode, try again, increasing context size"}}"#,
        ErrorKind::ServerError,
    ),
    (408, "", ErrorKind::ServerError),
    (
        503,
        r#"{"error":{"message":"invalid api key store"}}"#,
        ErrorKind::ServerError,
    ),
    (
        529,
        r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
        ErrorKind::ServerError,
    ),
];

#[test]
fn errors_are_classified_by_their_words_and_status() {
    for (status, body, kind) in ERRORS {
        let error = of_status(*status, body);
        assert_eq!((error.kind, error.status), (*kind, *status), "{body}");
    }
}

#[test]
fn errors_with_status_200_have_the_status_they_name() {
    for (document, expected) in [
        (
            json!({"error": {"code": 429, "message": "busy"}}),
            Some((ErrorKind::RateLimited, 429)),
        ),
        (
            json!({"error": {"code": "502", "message": "gone"}}),
            Some((ErrorKind::ServerError, 502)),
        ),
        (
            json!([{"error": {"code": 400, "message": "bad"}}]),
            Some((ErrorKind::BadRequest, 400)),
        ),
        (json!({"error": "tired"}), Some((ErrorKind::ServerError, 0))),
        (
            json!({"object": "error", "message": "bad", "type": "invalid_request_error"}),
            Some((ErrorKind::BadRequest, 0)),
        ),
        (
            json!({"detail": "Not authenticated", "status_code": 401}),
            Some((ErrorKind::Authentication, 401)),
        ),
        (
            json!({"message": "busy", "code": 503}),
            Some((ErrorKind::ServerError, 503)),
        ),
        (json!({"error": null}), None),
        (json!({"error": {"code": 0, "message": ""}, "choices": []}), None),
        (json!({"choices": [], "message": "fine", "code": 200}), None),
        (json!({"message": "hello"}), None),
        (json!([]), None),
        (json!("text"), None),
    ] {
        let error = ProviderError::in_document(&document).map(|error| (error.kind, error.status));
        assert_eq!(error, expected, "{document}");
    }
}

#[test]
fn message_is_in_the_providers_own_words_on_one_line() {
    for (body, message) in [
        (r#"{"error":{"message":"a\nb"}}"#, "a b"),
        (r#"{"error":"a"}"#, "a"),
        (r#"{"code":"The thing was not found","error":"a"}"#, "a"),
        (r#"[{"error":{"message":"a"}}]"#, "a"),
        (r#"{"detail":"a"}"#, "a"),
        (
            r#"{"object":"error","message":{"detail":[1]}}"#,
            r#"{"detail":[1]}"#,
        ),
        (r#"{"error":{"message":"a","metadata":{"raw":"b"}}}"#, "a: b"),
        (r#"{"error":{"code":7}}"#, r#"{"code":7}"#),
        ("plain text", "plain text"),
        ("", ""),
    ] {
        assert_eq!(of_status(400, body).message, message, "{body}");
    }
    assert_eq!(of_status(500, "a").to_string(), "status 500 (server_error): a");
    assert_eq!(of_status(400, &"x".repeat(1000)).message.len(), 300);
}

#[test]
fn header_determines_the_wait() {
    let mut headers = HeaderMap::new();
    let body = br#"{"error":{"message":"Please try again in 9s"}}"#;
    let wait = |headers: &HeaderMap| ProviderError::in_response(429, headers, body).retry_after;
    assert_eq!(wait(&headers), Some(Duration::from_secs(9)));
    headers.insert("retry-after", "2".parse().unwrap());
    assert_eq!(wait(&headers), Some(Duration::from_secs(2)));
}
