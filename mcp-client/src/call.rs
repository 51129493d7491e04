//! One tool call. Its outcome states whether the call may have taken effect.

use std::{error::Error, sync::Arc};

use errand_shared::service::metrics::observe;
use rmcp::{
    ServiceError,
    model::{CallToolRequestParams, CallToolResponse, RequestMetaObject},
    transport::streamable_http_client::StreamableHttpError,
};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use crate::{
    metrics::CallResult,
    outcome::{Code, Outcome},
    server::{Live, Server},
    text,
    tool::Tool,
};

/// Member of the request's `_meta` with the idempotency key: the same for all attempts of one call, and unique to it.
const KEY_MEMBER: &str = "errand/idempotency-key";
/// Maximum length of a server's error message in bytes.
const MAX_ERROR_BYTES: usize = 1000;

/// A call to a connected server with valid arguments.
#[derive(Debug)]
pub struct ReadyCall {
    server: Arc<Server>,
    live: Arc<Live>,
    tool: Arc<Tool>,
    arguments: Map<String, Value>,
}

/// The reason why a call has no result.
enum NoResult {
    /// The call has not reached the tool.
    NotSent(&'static str),
    /// The call has not reached the tool, because the connection or the session was lost. It can be made on a new connection.
    Disconnected(&'static str),
    /// The server rejected the call.
    Rejected(String),
    /// The call may have reached the tool.
    Unknown(&'static str),
}

impl ReadyCall {
    pub(crate) const fn new(
        server: Arc<Server>,
        live: Arc<Live>,
        tool: Arc<Tool>,
        arguments: Map<String, Value>,
    ) -> Self {
        Self {
            server,
            live,
            tool,
            arguments,
        }
    }

    /// Whether the call may be repeated if it is unknown whether it took effect: it is read-only or idempotent.
    pub fn is_repeatable(&self) -> bool {
        self.tool.is_repeatable()
    }

    /// Makes the call once and waits for its result until the tool's timeout or `deadline`. If the connection or the session was lost
    /// before the call, makes it on the next connection.
    ///
    /// Dropping the future sends a cancellation to the server. It is then unknown whether the call takes effect.
    pub async fn make(mut self, key: &str, deadline: Instant) -> Outcome {
        let server = Arc::clone(&self.server);
        let until = deadline.min(Instant::now() + self.tool.timeout);
        let Ok(Ok(permit)) = timeout_at(until, server.call_permits.acquire()).await else {
            server.metrics.called(CallResult::Unavailable);
            return Outcome::failure(
                Code::Unavailable,
                &format!(
                    "Too many calls to {} are in progress. Nothing was done.",
                    server.name()
                ),
            );
        };
        let started = Instant::now();
        let mut result = self.send_until(key, until).await;
        if matches!(result, Err(NoResult::Disconnected(_)))
            && let Ok(Some(live)) = timeout_at(until, server.reconnected()).await
        {
            match server.prepare_on(live, &self.tool.name, &self.arguments) {
                Ok(call) => self = call,
                Err(outcome) => return outcome,
            }
            result = self.send_until(key, until).await;
        }
        drop(permit);
        observe(&server.metrics.duration, started.elapsed());
        let (call_result, outcome) = self.outcome(result);
        server.metrics.called(call_result);
        outcome
    }

    async fn send_until(&self, key: &str, until: Instant) -> Result<Outcome, NoResult> {
        let in_progress = self.live.calls.in_progress.token();
        let result = timeout_at(until, self.send(key)).await;
        drop(in_progress);
        result.unwrap_or(Err(NoResult::Unknown("no response arrived in time")))
    }

    async fn send(&self, key: &str) -> Result<Outcome, NoResult> {
        let mut meta = RequestMetaObject::new();
        meta.insert(KEY_MEMBER.to_owned(), Value::String(key.to_owned()));
        let mut call =
            CallToolRequestParams::new(self.tool.server_name.clone()).with_arguments(self.arguments.clone());
        call.meta = Some(meta);
        if self.live.peer.is_transport_closed() {
            self.live.calls.broken.cancel();
            return Err(NoResult::Disconnected("the connection was lost"));
        }
        match self.live.peer.call_tool_once(call).await {
            Ok(CallToolResponse::Complete(result)) => {
                Ok(Outcome::from_result(result, self.server.config.max_result_bytes))
            }
            Ok(_) => Err(NoResult::Rejected(
                "the tool requests input, which is not supported".to_owned(),
            )),
            Err(ServiceError::McpError(error)) => {
                Err(NoResult::Rejected(text::line(&error.message, MAX_ERROR_BYTES)))
            }
            Err(ServiceError::UnexpectedResponse) => {
                Err(NoResult::Unknown("its response was not a tool result"))
            }
            Err(error) => {
                let no_result = no_result(&error);
                // A server that rejects a call still has the connection.
                if !matches!(no_result, NoResult::NotSent(_)) {
                    self.live.calls.broken.cancel();
                }
                tracing::warn!(mcp.server = self.server.name(), %error, "connection to MCP server failed during a call");
                Err(no_result)
            }
        }
    }

    fn outcome(&self, result: Result<Outcome, NoResult>) -> (CallResult, Outcome) {
        let server = self.server.name();
        match result {
            Ok(outcome) if outcome.success => (CallResult::Succeeded, outcome),
            Ok(outcome) => (CallResult::Failed, outcome),
            Err(NoResult::NotSent(reason) | NoResult::Disconnected(reason)) => {
                let message = format!("The server {server} can't be reached: {reason}. Nothing was done.");
                (
                    CallResult::Unavailable,
                    Outcome::failure(Code::Unavailable, &message),
                )
            }
            Err(NoResult::Rejected(reason)) => {
                let message = format!("The server {server} rejected the call: {reason}");
                (CallResult::Failed, Outcome::failure(Code::Failed, &message))
            }
            Err(NoResult::Unknown(reason)) if self.tool.read_only => {
                let message = format!(
                    "The server {server} did not respond: {reason}. The tool is read-only, so nothing was changed."
                );
                (
                    CallResult::Unavailable,
                    Outcome::failure(Code::Unavailable, &message),
                )
            }
            Err(NoResult::Unknown(reason)) => {
                let advice = if self.tool.idempotent {
                    "The call is idempotent, so you can try again."
                } else {
                    "Inform the user, and check the state before trying again."
                };
                let message = format!(
                    "It is unknown whether this took effect: the call was sent to {server}, but {reason}. It is not repeated \
                     automatically. {advice}"
                );
                (CallResult::Unknown, Outcome::failure(Code::Unknown, &message))
            }
        }
    }
}

/// Determines how far a failed call got.
fn no_result(error: &ServiceError) -> NoResult {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    if let ServiceError::TransportSend(error) = error {
        cause = Some(error.error.as_ref());
    }
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
            match http {
                StreamableHttpError::AuthRequired(_) | StreamableHttpError::InsufficientScope(_) => {
                    return NoResult::NotSent("it did not accept the credentials");
                }
                StreamableHttpError::SessionExpired => {
                    return NoResult::Disconnected("the session has expired");
                }
                StreamableHttpError::HttpStatus(status) if status.status == 429 => {
                    return NoResult::NotSent("it is overloaded");
                }
                StreamableHttpError::ResponseBodyTooLarge { .. } => {
                    return NoResult::Unknown("the response was too large");
                }
                StreamableHttpError::Client(http) if http.is_connect() => {
                    return NoResult::Disconnected("the connection was refused");
                }
                _ => {}
            }
        }
        cause = error.source();
    }
    NoResult::Unknown("the connection was lost before the response")
}
