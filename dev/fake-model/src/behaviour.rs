//! What the server does with a request: answer it, fail, or break the protocol. Independent of HTTP.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Gate,
    wire::{ChatRequest, FinishReason},
};

/// Computes the answer to a request when the script says [`Behaviour::Demo`].
pub type Brain = fn(&ChatRequest) -> Answer;

/// The answer of a [`Brain`].
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A text, which ends the turn.
    Text(String),
    /// Tool calls; their results come with the next request.
    ToolCalls(Vec<Call>),
}

/// A tool call in an [`Answer`]. The server assigns its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// The arguments, an object.
    pub arguments: Value,
}

/// What the server does with one request.
///
/// In JSON, names are in snake case and durations are integers in milliseconds: `"demo"`, `{"reply": "hi"}`,
/// `{"delay": [50, {"status": {"code": 503}}]}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// The answer of the server's [`Brain`].
    #[default]
    Demo,
    /// A complete text.
    Reply(String),
    /// Tool calls: name and raw arguments, which may be invalid JSON.
    ToolCalls(Vec<(String, String)>),
    /// A text with tool calls.
    ReplyWithToolCalls {
        /// The text.
        content: String,
        /// Name and raw arguments of each call.
        calls: Vec<(String, String)>,
    },
    /// Tool calls that all have the same ID.
    DuplicateToolCallIds(Vec<(String, String)>),
    /// A text with the given finish reason.
    Finish {
        /// The finish reason.
        reason: FinishReason,
        /// The text.
        content: String,
    },
    /// A refusal instead of a text.
    Refusal(String),
    /// A well-formed response with an empty `choices` list.
    EmptyChoices,
    /// A complete answer with neither a text nor calls.
    NullContent,
    /// An error status.
    Status {
        /// The HTTP status.
        code: u16,
        /// The value of the `Retry-After` header.
        #[serde(default)]
        retry_after: Option<String>,
        /// The body; by default the error object that `OpenAI` sends with this status.
        #[serde(default)]
        body: Option<String>,
    },
    /// Any status, content type and body.
    RawBody {
        /// The HTTP status.
        status: u16,
        /// The `Content-Type` header.
        content_type: String,
        /// The body. In JSON: a string or a list of bytes.
        #[serde(with = "raw_bytes")]
        bytes: Vec<u8>,
    },
    /// Closes the connection without answering.
    Disconnect,
    /// Closes the connection in the middle of the answer.
    DisconnectMidStream {
        /// Number of chunks to send first.
        after_chunks: usize,
    },
    /// Never answers.
    Hang,
    /// Streams words forever.
    Drip {
        /// Interval between chunks.
        #[serde(with = "millis")]
        chunk_every: Duration,
    },
    /// Waits, then continues with the inner behaviour.
    Delay(#[serde(with = "millis")] Duration, Box<Behaviour>),
    /// Waits at the gate, then continues with the inner behaviour.
    #[serde(skip)]
    Gate(Gate, Box<Behaviour>),
    /// One of several, chosen at random by weight. Reproducible with the server's seed.
    Mix(Vec<(u32, Behaviour)>),
}

impl Behaviour {
    /// A complete text.
    pub fn reply(text: impl Into<String>) -> Self {
        Self::Reply(text.into())
    }

    /// One tool call with raw arguments.
    pub fn tool_call(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self::ToolCalls(vec![(name.into(), arguments.into())])
    }

    /// An error status with the error object that `OpenAI` sends.
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            retry_after: None,
            body: None,
        }
    }

    /// Status 429 with this `Retry-After`, in seconds.
    pub fn rate_limited(retry_after_seconds: u64) -> Self {
        Self::Status {
            code: 429,
            retry_after: Some(retry_after_seconds.to_string()),
            body: None,
        }
    }

    /// Any body, with status 200 and the type `application/json`.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::RawBody {
            status: 200,
            content_type: "application/json".to_owned(),
            bytes: bytes.into(),
        }
    }

    /// Waits for `delay` first.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self::Delay(delay, Box::new(self))
    }

    /// Waits at `gate` first.
    #[must_use]
    pub fn behind(self, gate: &Gate) -> Self {
        Self::Gate(gate.clone(), Box::new(self))
    }
}

/// Serializes durations as integers in milliseconds.
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

/// Serializes bytes as a string if they are valid UTF-8, otherwise as a list.
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
