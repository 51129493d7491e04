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
                        content: (!content.is_empty() || tool_calls.is_empty()).then_some(content),
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
mod tests {
    use async_openai::types::chat::CreateChatCompletionRequest;
    use clap::Parser;
    use errand_agent::ToolSpec;
    use serde_json::json;

    use super::*;
    use crate::model::{parameters::AcceptedParameters, tools::OfferedTools};

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        model: ModelSettings,
    }

    const SOURCE: &str = "host/m";

    fn settings(model: &str) -> ModelSettings {
        Program::parse_from(["program", "--openai-model", model]).model
    }

    fn parameters(settings: &ModelSettings, url: &str) -> Parameters {
        AcceptedParameters::new(settings, &url.parse().unwrap()).get()
    }

    fn sent(settings: &ModelSettings, parameters: &Parameters, messages: &[Message]) -> Value {
        let request = Request::new(settings, SOURCE, parameters, messages, None);
        serde_json::from_slice(&request.json().unwrap()).unwrap()
    }

    fn call(id: &str) -> ToolCall {
        ToolCall {
            id: id.to_owned(),
            name: "add".to_owned(),
            arguments: "{}".to_owned(),
        }
    }

    /// Two calls with their results.
    fn step(ids: [&str; 2], provider_data: Option<Value>) -> Vec<Message> {
        let result = |id: &str| Message::Tool {
            tool_call_id: id.to_owned(),
            content: "{}".to_owned(),
        };
        vec![
            Message::Assistant {
                content: String::new(),
                tool_calls: ids.map(call).to_vec(),
                provider_data: provider_data.map(Box::new),
            },
            result(ids[0]),
            result(ids[1]),
        ]
    }

    /// async-openai's types were written from OpenAI's specification and know nothing about this module.
    #[test]
    fn request_has_the_specified_form() {
        for model in ["gpt-4.1", "gpt-5-mini"] {
            let settings = settings(model);
            let parameters = parameters(&settings, "https://api.openai.com/v1");
            let mut messages = vec![Message::User {
                content: "Buy milk".to_owned(),
            }];
            messages.extend(step(["a", "b"], None));
            let tool = ToolSpec {
                name: "add".to_owned(),
                description: "Adds a task.".to_owned(),
                parameters: json!({"type": "object", "properties": {}}),
            };
            let offered = OfferedTools::new(vec![tool]).unwrap();
            let tools = offered.json(&[]).unwrap();
            let request = Request::new(&settings, SOURCE, &parameters, &messages, tools.as_deref());
            let json: Value = serde_json::from_slice(&request.json().unwrap()).unwrap();
            let read: CreateChatCompletionRequest = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(
                (read.messages.len(), read.tools.map(|tools| tools.len())),
                (4, Some(1))
            );
            let has_new_limit = model.starts_with("gpt-5");
            assert_eq!(read.max_completion_tokens.is_some(), has_new_limit);
            assert_eq!(read.temperature.is_some(), !has_new_limit);
            assert!(json["stream_options"]["include_usage"].as_bool().unwrap());
        }
    }

    #[test]
    fn agents_members_replace_the_usual_ones() {
        let mut settings = settings("m");
        let own = json!({"temperature": 0, "max_completion_tokens": 5, "stream_options": {}, "top_p": 0.5, "omit": 1});
        settings.request = std::sync::Arc::new(own.as_object().cloned().unwrap());
        let mut parameters = parameters(&settings, "http://host/v1");
        parameters.omitted.push("omit".to_owned());
        let sent = sent(&settings, &parameters, &[]);
        let expected = json!({
            "model": "m", "messages": [], "stream": true,
            "temperature": 0, "max_completion_tokens": 5, "stream_options": {}, "top_p": 0.5,
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn ids_are_short_where_the_provider_requires_it() {
        let settings = settings("mistral-small");
        let parameters = parameters(&settings, "https://api.mistral.ai/v1");
        let sent = sent(&settings, &parameters, &step(["call_a", "abcDEF123"], None));
        let ids: Vec<&str> = sent["messages"][0]["tool_calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids[1], "abcDEF123");
        assert!(
            ids[0].len() == 9 && ids[0].bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{ids:?}"
        );
        assert_eq!(sent["messages"][1]["tool_call_id"], ids[0]);
        assert_eq!(sent["messages"][2]["tool_call_id"], ids[1]);
    }

    #[test]
    fn long_ids_are_sent_as_they_arrived() {
        let settings = settings("m");
        let parameters = parameters(&settings, "http://host/v1");
        let long = "x".repeat(1000);
        let data = json!({"source": SOURCE, "message": {}, "calls": [{"id": long}, null]});
        let sent = sent(&settings, &parameters, &step(["call_0_0", "b"], Some(data)));
        assert_eq!(sent["messages"][0]["tool_calls"][0]["id"], long);
        assert_eq!(sent["messages"][1]["tool_call_id"], long);
        assert_eq!(sent["messages"][2]["tool_call_id"], "b");
    }

    #[test]
    fn missing_reasoning_and_signatures_are_replaced_where_required() {
        let settings = settings("gemini-3-pro");
        let url = "https://generativelanguage.googleapis.com/v1beta/openai";
        let mut parameters = parameters(&settings, url);
        parameters.empty_reasoning = true;
        let sent = sent(&settings, &parameters, &step(["a", "b"], None));
        let message = &sent["messages"][0];
        assert_eq!(message["reasoning_content"], "");
        assert_eq!(message["tool_calls"][0]["extra_content"], placeholder_signature());
        assert_eq!(message["tool_calls"][1].get("extra_content"), None);
    }

    #[test]
    fn recorded_data_is_not_replaced() {
        let settings = settings("gemini-3-pro");
        let mut parameters = parameters(
            &settings,
            "https://generativelanguage.googleapis.com/v1beta/openai",
        );
        parameters.empty_reasoning = true;
        let data = json!({
            "source": SOURCE,
            "message": {"reasoning_content": "Hm."},
            "calls": [{"extra_content": {"google": {"thought_signature": "s"}}}, null],
        });
        let sent = sent(&settings, &parameters, &step(["a", "b"], Some(data)));
        let message = &sent["messages"][0];
        assert_eq!(message["reasoning_content"], "Hm.");
        assert_eq!(
            message["tool_calls"][0]["extra_content"]["google"]["thought_signature"],
            "s"
        );
    }
}
