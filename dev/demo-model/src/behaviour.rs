//! What the server does with a request: answer as the demo brain, as told, or badly. Knows no HTTP.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Gate, wire::FinishReason};

/// What to do with one request.
///
/// In JSON each is named in snake case, durations are whole milliseconds: `"demo"`, `{"reply": "hi"}`,
/// `{"delay": [50, {"status": {"code": 503}}]}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// The rule-based brain answers.
    #[default]
    Demo,
    /// A finished text.
    Reply(String),
    /// Tool calls: name and raw arguments, which need not be JSON.
    ToolCalls(Vec<(String, String)>),
    /// A text and tool calls in one answer.
    ReplyWithToolCalls {
        /// The text.
        content: String,
        /// Name and raw arguments of each call.
        calls: Vec<(String, String)>,
    },
    /// Tool calls that all bear the same id.
    DuplicateToolCallIds(Vec<(String, String)>),
    /// A text with a reason to end of one's own choice.
    Finish {
        /// The reason given.
        reason: FinishReason,
        /// The text.
        content: String,
    },
    /// A refusal in place of a text.
    Refusal(String),
    /// A well-formed answer without any choice.
    EmptyChoices,
    /// A finished answer with neither text nor calls.
    NullContent,
    /// An error status.
    Status {
        /// The HTTP status.
        code: u16,
        /// The `Retry-After` header, as it is to be sent.
        #[serde(default)]
        retry_after: Option<String>,
        /// The body; a fitting error in JSON when there is none.
        #[serde(default)]
        body: Option<String>,
    },
    /// Any status, type and bytes at all.
    RawBody {
        /// The HTTP status.
        status: u16,
        /// The `Content-Type` header.
        content_type: String,
        /// The body: in JSON a string, or a list of bytes.
        #[serde(with = "raw_bytes")]
        bytes: Vec<u8>,
    },
    /// Cuts the connection before answering.
    Disconnect,
    /// Cuts the connection in the middle of the answer.
    DisconnectMidStream {
        /// How many chunks go out first.
        after_chunks: usize,
    },
    /// Never answers.
    Hang,
    /// Streams words for ever.
    Drip {
        /// The time between two chunks.
        #[serde(with = "millis")]
        chunk_every: Duration,
    },
    /// Waits before it does the other.
    Delay(#[serde(with = "millis")] Duration, Box<Behaviour>),
    /// Waits until the test opens the gate, then does the other.
    #[serde(skip)]
    Gate(Gate, Box<Behaviour>),
    /// One of several, drawn by weight from the server's seed.
    Mix(Vec<(u32, Behaviour)>),
}

impl Behaviour {
    /// A finished text.
    pub fn reply(text: impl Into<String>) -> Self {
        Self::Reply(text.into())
    }

    /// One tool call with raw arguments.
    pub fn tool_call(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self::ToolCalls(vec![(name.into(), arguments.into())])
    }

    /// An error status with a fitting body.
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            retry_after: None,
            body: None,
        }
    }

    /// 429 with this `Retry-After`, in seconds.
    pub fn rate_limited(retry_after_seconds: u64) -> Self {
        Self::Status {
            code: 429,
            retry_after: Some(retry_after_seconds.to_string()),
            body: None,
        }
    }

    /// Any bytes at all, with status 200, as `application/json`.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::RawBody {
            status: 200,
            content_type: "application/json".to_owned(),
            bytes: bytes.into(),
        }
    }

    /// This, after `delay`.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self::Delay(delay, Box::new(self))
    }

    /// This, once `gate` lets it through.
    #[must_use]
    pub fn behind(self, gate: &Gate) -> Self {
        Self::Gate(gate.clone(), Box::new(self))
    }
}

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Bytes as a string where they are one, else as a list.
mod raw_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.serialize(serializer),
            Err(_) => bytes.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Raw::deserialize(deserializer).map(|raw| match raw {
            Raw::Text(text) => text.into_bytes(),
            Raw::Bytes(bytes) => bytes,
        })
    }
}
