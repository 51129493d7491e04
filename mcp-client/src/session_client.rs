//! The HTTP client of a session. It recognises a lost session in every form in which servers report it, and other answers that don't
//! follow the protocol.

use std::{collections::HashMap, sync::Arc};

use futures::stream::BoxStream;
use reqwest::{
    Client,
    header::{HeaderName, HeaderValue},
};
use rmcp::{
    model::{ClientJsonRpcMessage, ErrorData, ServerJsonRpcMessage},
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
        StreamableHttpResponseLimits,
    },
};
use sse_stream::Sse;

/// The code with which the TypeScript SDK reports an unknown session. It also uses it for other errors.
const SESSION_NOT_FOUND: i32 = -32001;

/// A client for one server.
#[derive(Clone, Debug)]
pub(crate) struct SessionClient(pub(crate) Client);

type HttpError = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

impl StreamableHttpClient for SessionClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits)
            .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let request_id = match &message {
            ClientJsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };
        let has_session = session_id.is_some();
        let response = self
            .0
            .post_message_with_response_limits(uri, message, session_id, auth_header, custom_headers, limits)
            .await;
        match (response, request_id) {
            (
                Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(mut error), session)),
                Some(id),
            ) => {
                let is_correlated = error.id.as_ref() == Some(&id);
                if has_session && is_lost_session(&error.error, is_correlated) {
                    return Err(HttpError::SessionExpired);
                }
                // Servers that reject a request before they parse it send no ID, or one of their own. The request would wait for its
                // response until the time limit.
                error.id = Some(id);
                Ok(StreamableHttpPostResponse::Json(
                    ServerJsonRpcMessage::Error(error),
                    session,
                ))
            }
            (Err(HttpError::UnexpectedServerResponse(text)), _)
                if has_session && text.starts_with("HTTP 400") && mentions_session(&text) =>
            {
                Err(HttpError::SessionExpired)
            }
            (response, _) => response,
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), HttpError> {
        self.0
            .delete_session(uri, session_id, auth_header, custom_headers)
            .await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<Events, HttpError> {
        let max_event_size = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            max_event_size,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> Result<Events, HttpError> {
        let stream = self
            .0
            .get_stream_with_max_sse_event_size(
                uri,
                session_id,
                last_event_id,
                auth_header,
                custom_headers,
                max_sse_event_size,
            )
            .await;
        stream.map_err(|error| match error {
            // The protocol asks for 405, but frameworks answer 404 on a path without a GET route.
            HttpError::Client(error) if error.status().is_some_and(|status| status.is_client_error()) => {
                HttpError::ServerDoesNotSupportSse
            }
            error => error,
        })
    }
}

/// Whether an error reports an unknown session. The request was then not processed. An error that names its request may come from the
/// tool, so that only the SDK's exact error counts.
fn is_lost_session(error: &ErrorData, is_correlated: bool) -> bool {
    if is_correlated {
        let is_standard_text = error.message.trim().eq_ignore_ascii_case("session not found");
        error.code.0 == SESSION_NOT_FOUND && is_standard_text
    } else {
        mentions_session(&error.message)
    }
}

/// After a restart, servers of the TypeScript SDK also answer "Server not initialized".
fn mentions_session(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("session") || text.contains("not initialized")
}

#[cfg(test)]
mod tests {
    use rmcp::model::ErrorCode;

    use super::*;

    #[test]
    fn lost_session_is_recognised_in_every_form() {
        let error = |code, text: &'static str| ErrorData::new(ErrorCode(code), text, None);
        for (code, text, is_correlated, expected) in [
            (-32001, "Session not found", true, true),
            (-32001, "Session not found", false, true),
            (-32000, "Bad Request: No valid session ID provided", false, true),
            (-32000, "Bad Request: Server not initialized", false, true),
            (-32600, "Missing session ID", false, true),
            // Errors of tools.
            (-32001, "Request timed out", true, false),
            (-32603, "Session not found", true, false),
            (-32001, "Browser session not found", true, false),
            (-32700, "Parse error", false, false),
        ] {
            assert_eq!(
                is_lost_session(&error(code, text), is_correlated),
                expected,
                "{code} {text}"
            );
        }
    }
}
