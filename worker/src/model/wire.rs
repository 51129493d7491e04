//! Chat Completions as it goes over the wire: borrowed on the way out, lenient on the way in, because servers differ.

use std::fmt::Display;

use errand_agent::{Message, Prompt, ToolCall, ToolSpec};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq};
use serde_json::value::RawValue;

use super::fault::{ModelFault, line};
use crate::settings::ModelSettings;

/// Bytes that a request's JSON has room for at first, beside its tools: the prompt and some turns.
const FIRST_BYTES: usize = 4096;

/// A streamed request.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    #[serde(serialize_with = "messages")]
    messages: &'a [Message],
    /// Servers refuse a list without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    temperature: f32,
    max_tokens: u32,
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(
        settings: &'a ModelSettings,
        messages: &'a [Message],
        tools: Option<&'a RawValue>,
    ) -> Self {
        Self {
            model: &settings.openai_model,
            messages,
            tools,
            temperature: settings.openai_temperature,
            max_tokens: settings.openai_max_tokens,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
        }
    }

    /// As it is sent.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub(super) fn json(&self) -> Result<Vec<u8>, ModelFault> {
        let tools = self.tools.map_or(0, |tools| tools.get().len());
        let mut json = Vec::with_capacity(tools + FIRST_BYTES);
        serde_json::to_writer(&mut json, self)
            .map_err(|error| ModelFault::Malformed(line(&error.to_string())))?;
        Ok(json)
    }
}

/// The tools on offer as JSON. None if there are none.
///
/// # Errors
/// If they can't be written as JSON.
pub(super) fn offers<'a>(
    tools: impl Iterator<Item = &'a ToolSpec>,
) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    let offers: Vec<_> = tools.map(ToolOffer::from).collect();
    if offers.is_empty() {
        return Ok(None);
    }
    serde_json::value::to_raw_value(&offers).map(Some)
}

/// A tool on offer.
#[derive(Debug, Serialize)]
struct ToolOffer<'a> {
    r#type: &'static str,
    function: FunctionOffer<'a>,
}

#[derive(Debug, Serialize)]
struct FunctionOffer<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a serde_json::Value,
}

impl<'a> From<&'a ToolSpec> for ToolOffer<'a> {
    fn from(spec: &'a ToolSpec) -> Self {
        let ToolSpec {
            name,
            description,
            parameters,
        } = spec;
        Self {
            r#type: "function",
            function: FunctionOffer {
                name,
                description,
                parameters,
            },
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum WireMessage<'a> {
    System {
        #[serde(serialize_with = "displayed")]
        content: &'a Prompt,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<WireCall<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> From<&'a Message> for WireMessage<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::System(content) => Self::System { content },
            Message::User { content } => Self::User { content },
            Message::Assistant { content, tool_calls } => Self::Assistant {
                content: (!content.is_empty() || tool_calls.is_empty()).then_some(content),
                tool_calls: tool_calls.iter().map(WireCall::from).collect(),
            },
            Message::Tool {
                tool_call_id,
                content,
            } => Self::Tool {
                tool_call_id,
                content,
            },
        }
    }
}

impl<'a> From<&'a ToolCall> for WireCall<'a> {
    fn from(call: &'a ToolCall) -> Self {
        Self {
            id: &call.id,
            r#type: "function",
            function: WireFunction {
                name: &call.name,
                arguments: &call.arguments,
            },
        }
    }
}

fn displayed<S: Serializer>(text: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

fn messages<S: Serializer>(messages: &[Message], serializer: S) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(messages.len()))?;
    for message in messages {
        sequence.serialize_element(&WireMessage::from(message))?;
    }
    sequence.end()
}

/// One event of the stream, as much of it as we use.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) choices: Vec<Choice>,
    #[serde(default)]
    pub(super) usage: Option<ChunkUsage>,
    /// Some servers report a fault inside a stream that began well.
    #[serde(default)]
    pub(super) error: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) delta: Delta,
    #[serde(default)]
    pub(super) finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Delta {
    #[serde(default)]
    pub(super) content: Option<String>,
    #[serde(default)]
    pub(super) refusal: Option<String>,
    #[serde(default)]
    pub(super) tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CallDelta {
    #[serde(default)]
    pub(super) index: Option<usize>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) function: Option<FunctionDelta>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct FunctionDelta {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) arguments: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChunkUsage {
    #[serde(default)]
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
}
