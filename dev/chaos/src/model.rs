//! Controls the simulated model over its control routes.

use std::time::Duration;

use errand_devstack::client::{Client, Request, StatusCode};

use serde_json::{Value, json};

use crate::Result;

/// The simulated model, which answers by rules unless a script says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    client: Client,
}

impl Model {
    pub(crate) fn new(port: u16) -> Self {
        Self {
            client: Client::new(port),
        }
    }

    /// Answers every request with this behaviour.
    pub(crate) async fn always(&self, behaviour: &Value) -> Result<()> {
        self.set_script(&json!({ "default": behaviour })).await
    }

    /// Answers the next requests whose last user message contains `text` with these behaviours.
    pub(crate) async fn when(&self, text: &str, behaviours: &[Value]) -> Result<()> {
        self.set_script(&json!({ "queues": [{ "when": text, "behaviours": behaviours }] }))
            .await
    }

    /// Answers by rules again.
    pub(crate) async fn reset(&self) -> Result<()> {
        self.set_script(&json!({})).await
    }

    async fn set_script(&self, script: &Value) -> Result<()> {
        let answer = self
            .client
            .send(Request::put("/__control/script").json(script))
            .await?;
        if answer.status != StatusCode::OK {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("the model refused its script: {} {body}", answer.status).into());
        }
        Ok(())
    }
}

/// The rule-based answer.
pub(crate) fn demo() -> Value {
    json!("demo")
}

/// The rule-based answer after a delay.
pub(crate) fn demo_after(delay: Duration) -> Value {
    json!({ "delay": [millis(delay), demo()] })
}

/// A text.
pub(crate) fn reply(text: &str) -> Value {
    json!({ "reply": text })
}

/// One tool call.
pub(crate) fn tool_call(name: &str, arguments: &Value) -> Value {
    json!({ "tool_calls": [[name, arguments.to_string()]] })
}

/// An error status.
pub(crate) fn status(code: u16) -> Value {
    json!({ "status": { "code": code } })
}

/// 429 with a `Retry-After` of one second.
pub(crate) fn rate_limited() -> Value {
    json!({ "status": { "code": 429, "retry_after": "1" } })
}

/// A body that is not JSON.
pub(crate) fn malformed() -> Value {
    json!({ "raw_body": { "status": 200, "content_type": "application/json", "bytes": "{not json" } })
}

/// Breaks the connection before answering.
pub(crate) fn disconnect() -> Value {
    json!("disconnect")
}

/// Streams words without an end.
pub(crate) fn endless(interval: Duration) -> Value {
    json!({ "drip": { "chunk_every": millis(interval) } })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
