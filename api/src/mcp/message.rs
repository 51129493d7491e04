//! Whether a body is a message of JSON-RPC at all.

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

/// What to answer to a body that is no message; none if it is one.
pub(super) fn refusal(body: &[u8]) -> Option<Response> {
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
            let error = ErrorData::invalid_request("One message a request: batches are not taken", None);
            JsonRpcError::new(None, error)
        }
        Ok(value) => {
            let id = value
                .get("id")
                .and_then(|id| serde_json::from_value::<RequestId>(id.clone()).ok());
            JsonRpcError::new(
                id,
                ErrorData::invalid_request("Not a message of JSON-RPC 2.0", None),
            )
        }
    };
    Some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_told_apart_from_what_is_no_json() {
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
    fn the_refusal_bears_the_id_if_there_is_one() {
        let id = |body: &str| error(body.as_bytes()).unwrap().id;
        assert_eq!(
            id(r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#),
            Some(RequestId::Number(7))
        );
        assert_eq!(id(r#"{"jsonrpc":"1.0","method":"ping"}"#), None);
        assert_eq!(id("{"), None);
    }
}
