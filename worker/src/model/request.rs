//! The JSON of Chat Completions requests. It borrows from the conversation.

use std::fmt::Display;

use errand_agent::{Message, Prompt, ToolCall};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::value::RawValue;

use super::{
    error::{ModelError, one_line},
    parameters::Parameters,
};
use crate::settings::ModelSettings;

/// Initial capacity for the JSON of a request without its tools: enough for the prompt and some turns.
const INITIAL_BYTES: usize = 4096;

/// A streamed request.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    #[serde(serialize_with = "messages")]
    messages: &'a [Message],
    /// Left out if no tools are offered, because servers reject an empty list.
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(
        settings: &'a ModelSettings,
        parameters: Parameters,
        messages: &'a [Message],
        tools: Option<&'a RawValue>,
    ) -> Self {
        let max_tokens = settings.openai_max_tokens;
        Self {
            model: &settings.openai_model,
            messages,
            tools,
            temperature: parameters.temperature.then_some(settings.openai_temperature),
            max_tokens: (!parameters.max_completion_tokens).then_some(max_tokens),
            max_completion_tokens: parameters.max_completion_tokens.then_some(max_tokens),
            stream: true,
            stream_options: parameters
                .stream_options
                .then_some(StreamOptions { include_usage: true }),
        }
    }

    /// The body of the HTTP request.
    ///
    /// # Errors
    /// If it cannot be serialized.
    pub(super) fn json(&self) -> Result<Vec<u8>, ModelError> {
        let tools = self.tools.map_or(0, |tools| tools.get().len());
        let mut json = Vec::with_capacity(tools + INITIAL_BYTES);
        serde_json::to_writer(&mut json, self)
            .map_err(|error| ModelError::Malformed(one_line(&error.to_string())))?;
        Ok(json)
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
