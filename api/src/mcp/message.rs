//! Checks that a body is a JSON-RPC message.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use rmcp::{
    ErrorData,
    model::{ClientJsonRpcMessage, JsonRpcError, RequestId},
};
use serde_json::Value;

/// The error response for a body that is not a JSON-RPC message.
pub(super) fn error_response(body: &[u8]) -> Option<Response> {
    let error = error(body)?;
    Some((StatusCode::BAD_REQUEST, Json(error)).into_response())
}

fn error(body: &[u8]) -> Option<JsonRpcError> {
    if serde_json::from_slice::<ClientJsonRpcMessage>(body).is_ok() {
        return None;
    }
    let error = match serde_json::from_slice::<Value>(body) {
        Err(_) => JsonRpcError::new(None, ErrorData::parse_error("The body is not JSON", None)),
        Ok(Value::Array(_)) => {
            let error = ErrorData::invalid_request(
                "A request must contain a single message; batches are not supported",
                None,
            );
            JsonRpcError::new(None, error)
        }
        Ok(value) => {
            let id = value
                .get("id")
                .and_then(|id| serde_json::from_value::<RequestId>(id.clone()).ok());
            JsonRpcError::new(
                id,
                ErrorData::invalid_request("The body is not a JSON-RPC 2.0 message", None),
            )
        }
    };
    Some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_messages_and_invalid_json_have_different_codes() {
        let code = |body: &str| error(body.as_bytes()).map(|error| error.error.code.0);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), None);
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","id":1,"method":"what/ever","params":{"a":1}}"#),
            None
        );
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
            None
        );
        for body in ["", "{", "nothing", "\u{feff}{}"] {
            assert_eq!(code(body), Some(-32700), "{body}");
        }
        for body in [
            "{}",
            "7",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
        ] {
            assert_eq!(code(body), Some(-32600), "{body}");
        }
    }

    #[test]
    fn an_error_has_the_id_of_the_message() {
        let id = |body: &str| error(body.as_bytes()).unwrap().id;
        assert_eq!(
            id(r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#),
            Some(RequestId::Number(7))
        );
        assert_eq!(id(r#"{"jsonrpc":"1.0","method":"ping"}"#), None);
        assert_eq!(id("{"), None);
    }
}
