//! One call of a tool, with one honest outcome.

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
    metrics::Went,
    outcome::{Code, Outcome},
    server::{Live, Server},
    text,
    tool::Tool,
};

/// Where a server finds the key of a call, among what is said about the request: the same for each try of one call, and
/// of no other.
const KEY: &str = "errand/idempotency-key";
/// Bytes of what a server says is wrong.
const FAULT_BYTES: usize = 1000;

/// A call whose server is there and whose arguments fit.
#[derive(Debug)]
pub struct ReadyCall {
    server: Arc<Server>,
    live: Arc<Live>,
    tool: Arc<Tool>,
    arguments: Map<String, Value>,
}

/// Why a call has no answer.
enum Lost {
    /// It has not reached the tool.
    Unsent(String),
    /// The server said that it is not so.
    Refused(String),
    /// It may have.
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

    /// Whether it may be made again when nobody knows whether it was made: it changes nothing, or nothing more.
    pub fn is_repeatable(&self) -> bool {
        self.tool.is_repeatable()
    }

    /// Makes the call, once, and waits for its answer until the tool's time or the deadline is over.
    ///
    /// Dropping the future tells the server that nobody waits any more; whether the call takes effect is unknown then.
    pub async fn make(self, key: &str, deadline: Instant) -> Outcome {
        let until = deadline.min(Instant::now() + self.tool.timeout);
        let Ok(Ok(place)) = timeout_at(until, self.server.places.acquire()).await else {
            self.server.metrics.called(Went::Unavailable);
            return Outcome::failure(
                Code::Unavailable,
                &format!(
                    "Too many calls of {} wait already; nothing was done.",
                    self.server.name()
                ),
            );
        };
        let began = Instant::now();
        let answer = timeout_at(until, self.ask(key)).await;
        drop(place);
        observe(&self.server.metrics.duration, began.elapsed());
        let (went, outcome) = self.outcome(answer.unwrap_or(Err(Lost::Unknown("no answer came in time"))));
        self.server.metrics.called(went);
        outcome
    }

    async fn ask(&self, key: &str) -> Result<Outcome, Lost> {
        let mut about = RequestMetaObject::new();
        about.insert(KEY.to_owned(), Value::String(key.to_owned()));
        let mut call =
            CallToolRequestParams::new(self.tool.own_name.clone()).with_arguments(self.arguments.clone());
        call.meta = Some(about);
        if self.live.peer.is_transport_closed() {
            return Err(Lost::Unsent("the connection is lost".to_owned()));
        }
        match self.live.peer.call_tool_once(call).await {
            Ok(CallToolResponse::Complete(answer)) => {
                Ok(Outcome::answered(answer, self.server.config.max_result_bytes))
            }
            Ok(_) => Err(Lost::Refused(
                "the tool asks back, which is not possible here".to_owned(),
            )),
            Err(ServiceError::McpError(error)) => Err(Lost::Refused(text::line(&error.message, FAULT_BYTES))),
            Err(error) => {
                self.live.broken.cancel();
                tracing::warn!(mcp.server = self.server.name(), %error, "a call was lost");
                Err(lost(&error))
            }
        }
    }

    fn outcome(&self, answer: Result<Outcome, Lost>) -> (Went, Outcome) {
        let server = self.server.name();
        match answer {
            Ok(outcome) if outcome.success => (Went::Succeeded, outcome),
            Ok(outcome) => (Went::Failed, outcome),
            Err(Lost::Unsent(why)) => {
                let message = format!("The server {server} can't be reached: {why}. Nothing was done.");
                (Went::Unavailable, Outcome::failure(Code::Unavailable, &message))
            }
            Err(Lost::Refused(why)) => {
                let message = format!("The server {server} refused the call: {why}");
                (Went::Failed, Outcome::failure(Code::Failed, &message))
            }
            Err(Lost::Unknown(why)) if self.tool.read_only => {
                let message = format!(
                    "The server {server} gave no answer: {why}. The tool changes nothing, so nothing was changed."
                );
                (Went::Unavailable, Outcome::failure(Code::Unavailable, &message))
            }
            Err(Lost::Unknown(why)) => {
                let advice = if self.tool.idempotent {
                    "It may be tried again: that changes no more than once."
                } else {
                    "Tell the user so, and look before trying again."
                };
                let message = format!(
                    "Whether this took effect is unknown: {server} was asked, and {why}. It is not tried again by itself. \
                     {advice}"
                );
                (Went::Unknown, Outcome::failure(Code::Unknown, &message))
            }
        }
    }
}

/// How far a call came whose exchange failed.
fn lost(error: &ServiceError) -> Lost {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    if let ServiceError::TransportSend(error) = error {
        cause = Some(error.error.as_ref());
    }
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
            match http {
                StreamableHttpError::AuthRequired(_) | StreamableHttpError::InsufficientScope(_) => {
                    return Lost::Unsent("it does not accept our credentials".to_owned());
                }
                StreamableHttpError::SessionExpired => {
                    return Lost::Unsent("it has forgotten the session".to_owned());
                }
                StreamableHttpError::HttpStatus(status) if status.status == 429 => {
                    return Lost::Unsent("it has too much to do".to_owned());
                }
                StreamableHttpError::ResponseBodyTooLarge { .. } => {
                    return Lost::Unknown("its answer was too large");
                }
                StreamableHttpError::Client(http) if http.is_connect() => {
                    return Lost::Unsent("nobody is there".to_owned());
                }
                _ => {}
            }
        }
        cause = error.source();
    }
    Lost::Unknown("the connection broke before its answer")
}
