//! The JSON of Chat Completions requests. It borrows from the conversation.

use std::{
    borrow::Cow,
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher},
};

use errand_agent::{Message, Prompt, ToolCall};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::{Map, Value, value::RawValue};

use super::{
    error::{ModelError, one_line},
    parameters::Parameters,
    provider_data::{self, MessageData},
};
use crate::settings::ModelSettings;

/// Initial capacity for the JSON of a request without its tools: enough for the prompt and some turns.
const INITIAL_BYTES: usize = 4096;

/// The length of a short ID of a tool call, in characters.
const SHORT_ID_CHARS: usize = 9;
/// Accepted by Gemini in place of a signature. Source: Gemini's guide to thought signatures.
const PLACEHOLDER_SIGNATURE: &str = "skip_thought_signature_validator";

/// A streamed request.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    messages: Messages<'a>,
    /// Left out if no tools are offered, because servers reject an empty list.
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    /// The agent's own members, which replace the ones above.
    #[serde(flatten)]
    own: OwnMembers<'a>,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// The members of the agent's `request` that the provider accepts.
#[derive(Clone, Copy, Debug)]
struct OwnMembers<'a> {
    members: &'a Map<String, Value>,
    parameters: &'a Parameters,
}

impl<'a> OwnMembers<'a> {
    fn accepted(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let Self { members, parameters } = self;
        members
            .iter()
            .filter(|(name, _)| !parameters.omitted.contains(name))
    }

    fn has(self, names: &[&str]) -> bool {
        self.accepted().any(|(name, _)| names.contains(&name.as_str()))
    }
}

impl Serialize for OwnMembers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.accepted())
    }
}

impl<'a> Request<'a> {
    /// `source` names the model and its server, as in [`provider_data`].
    pub(super) fn new(
        settings: &'a ModelSettings,
        source: &'a str,
        parameters: &'a Parameters,
        messages: &'a [Message],
        tools: Option<&'a RawValue>,
    ) -> Self {
        let own = OwnMembers {
            members: &settings.request,
            parameters,
        };
        let has_limit = own.has(&["max_tokens", "max_completion_tokens"]);
        let max_tokens = (!has_limit).then_some(settings.openai_max_tokens);
        let (max_tokens, max_completion_tokens) = if parameters.max_completion_tokens {
            (None, max_tokens)
        } else {
            (max_tokens, None)
        };
        Self {
            model: &settings.openai_model,
            messages: Messages {
                transcript: messages,
                source,
                parameters,
            },
            tools,
            temperature: (parameters.temperature && !own.has(&["temperature"]))
                .then_some(settings.openai_temperature),
            max_tokens,
            max_completion_tokens,
            reasoning_effort: parameters.no_reasoning_effort.then_some("none"),
            stream: true,
            stream_options: (parameters.stream_options && !own.has(&["stream_options"]))
                .then_some(StreamOptions { include_usage: true }),
            own,
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

/// The messages in the form that the provider accepts.
#[derive(Debug)]
struct Messages<'a> {
    transcript: &'a [Message],
    source: &'a str,
    parameters: &'a Parameters,
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.transcript.len()))?;
        // The last message with tool calls, to which the results belong.
        let mut calls: (&[ToolCall], &[Value]) = (&[], &[]);
        for message in self.transcript {
            let wire = match message {
                Message::System(content) => WireMessage::System { content },
                Message::User { content } => WireMessage::User { content },
                Message::Tool {
                    tool_call_id,
                    content,
                } => {
                    let position = calls.0.iter().position(|call| call.id == *tool_call_id);
                    let data = position.and_then(|position| calls.1.get(position));
                    WireMessage::Tool {
                        tool_call_id: self.call_id(tool_call_id, data),
                        content,
                    }
                }
                Message::Assistant {
                    content, tool_calls, ..
                } => {
                    calls = (tool_calls, self.call_data(message));
                    WireMessage::Assistant {
                        content: (!content.is_empty()
                            || tool_calls.is_empty()
                            || self.parameters.empty_content)
                            .then_some(content),
                        tool_calls: self.calls(tool_calls, calls.1),
                        data: self.message_data(message),
                    }
                }
            };
            sequence.serialize_element(&wire)?;
        }
        sequence.end()
    }
}

impl<'a> Messages<'a> {
    fn message_data(&self, message: &'a Message) -> MessageData<'a> {
        let mut data = if self.parameters.provider_data {
            MessageData::of(message, self.source)
        } else {
            MessageData::default()
        };
        if self.parameters.empty_reasoning {
            data.reasoning_content = data.reasoning_content.or(Some(""));
        }
        data
    }

    fn call_data(&self, message: &'a Message) -> &'a [Value] {
        if self.parameters.provider_data {
            provider_data::of_calls(message, self.source)
        } else {
            &[]
        }
    }

    fn calls(&self, calls: &'a [ToolCall], data: &'a [Value]) -> Vec<WireCall<'a>> {
        let has_signature = data.iter().any(|data| data.get("extra_content").is_some());
        (0_usize..)
            .zip(calls)
            .map(|(position, call)| {
                let data = data.get(position);
                let member = |name| data.and_then(|data| data.get(name)).map(Cow::Borrowed);
                let lacks_signature =
                    position == 0 && self.parameters.placeholder_signature && !has_signature;
                WireCall {
                    id: self.call_id(&call.id, data),
                    r#type: "function",
                    function: WireFunction {
                        name: &call.name,
                        arguments: &call.arguments,
                    },
                    extra_content: if lacks_signature {
                        Some(Cow::Owned(placeholder_signature()))
                    } else {
                        member("extra_content")
                    },
                    provider_specific_fields: member("provider_specific_fields"),
                }
            })
            .collect()
    }

    /// The ID of a tool call as the provider accepts it.
    fn call_id(&self, id: &'a str, data: Option<&'a Value>) -> Cow<'a, str> {
        if self.parameters.short_call_ids {
            return short_id(id);
        }
        let original = data.and_then(|data| data.get("id")?.as_str());
        Cow::Borrowed(original.unwrap_or(id))
    }
}

/// Nine letters and digits in place of an ID. The same ID always has the same short form.
fn short_id(id: &str) -> Cow<'_, str> {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if id.len() == SHORT_ID_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Cow::Borrowed(id);
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let mut rest = hasher.finish();
    let digits = std::iter::repeat_with(|| {
        let digit = usize::try_from(rest % DIGITS.len() as u64).unwrap_or_default();
        rest /= DIGITS.len() as u64;
        char::from(DIGITS.get(digit).copied().unwrap_or(b'0'))
    });
    Cow::Owned(digits.take(SHORT_ID_CHARS).collect())
}

fn placeholder_signature() -> Value {
    serde_json::json!({"google": {"thought_signature": PLACEHOLDER_SIGNATURE}})
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
        #[serde(flatten)]
        data: MessageData<'a>,
    },
    Tool {
        tool_call_id: Cow<'a, str>,
        content: &'a str,
    },
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: Cow<'a, str>,
    r#type: &'static str,
    function: WireFunction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Cow<'a, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_specific_fields: Option<Cow<'a, Value>>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

fn displayed<S: Serializer>(text: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

#[cfg(test)]
mod tests;
