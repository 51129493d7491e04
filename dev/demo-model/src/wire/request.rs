//! A Chat Completions request as it came, with the members that this server looks at.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// The body of `POST /v1/chat/completions`. Members that are not listed are ignored, as providers do.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ChatRequest {
    /// The model asked for; this server answers as itself whatever stands here.
    #[serde(default)]
    pub model: String,
    /// The transcript, oldest first.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// The tools that may be called.
    #[serde(default)]
    pub tools: Option<Vec<Tool>>,
    /// `"none"` forbids tool calls; other values are taken as `"auto"`.
    #[serde(default)]
    pub tool_choice: Option<Value>,
    /// Whether the answer is to be streamed.
    #[serde(default)]
    pub stream: Option<bool>,
    /// What the stream is to carry besides the answer.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Sampling temperature; recorded, without effect.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Limit of tokens to answer with; recorded, without effect.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// The newer name of `max_tokens`.
    #[serde(default)]
    pub max_completion_tokens: Option<u64>,
}

impl ChatRequest {
    /// Whether the caller wants a stream.
    pub fn wants_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// Whether the stream is to end with a chunk that carries the usage.
    pub fn wants_usage_chunk(&self) -> bool {
        self.stream_options
            .as_ref()
            .is_some_and(|options| options.include_usage == Some(true))
    }

    /// Whether a tool of this name may be called.
    pub fn offers(&self, name: &str) -> bool {
        let forbidden = self.tool_choice.as_ref().and_then(Value::as_str) == Some("none");
        !forbidden && self.tools.iter().flatten().any(|tool| tool.function.name == name)
    }

    /// The text of the last message whose role is `user`.
    pub fn last_user_text(&self) -> Option<Cow<'_, str>> {
        self.messages
            .iter()
            .rev()
            .find(|message| message.role == "user")
            .map(Message::text)
    }
}

/// The `stream_options` member.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct StreamOptions {
    /// Asks for a last chunk with the usage.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

/// One message of the transcript.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said.
    #[serde(default)]
    pub content: Content,
    /// Who said it, when the caller tells.
    #[serde(default)]
    pub name: Option<String>,
    /// What the assistant asked for.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Which call a `tool` message answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A message of this role and text.
    pub fn new(role: &str, text: &str) -> Self {
        Self {
            role: role.to_owned(),
            content: Content::Text(text.to_owned()),
            ..Self::default()
        }
    }

    /// The text of the message; empty when it has none.
    pub fn text(&self) -> Cow<'_, str> {
        self.content.text()
    }

    /// The tool calls, an empty slice when there are none.
    pub fn calls(&self) -> &[ToolCall] {
        self.tool_calls.as_deref().unwrap_or_default()
    }
}

/// The content of a message: absent, a text, or a list of parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    /// `null` or missing.
    #[default]
    None,
    /// A plain string.
    Text(String),
    /// The text of each part, in order; parts that are not text count as empty.
    Parts(Vec<String>),
}

impl Content {
    /// The whole text; parts are joined by a line break.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::None => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Parts(parts) => Cow::Owned(parts.join("\n")),
        }
    }

    /// Length of the text in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Text(text) => text.len(),
            Self::Parts(parts) => parts.iter().map(String::len).sum(),
        }
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One element of a list of parts.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

// By hand, because an untagged enum buffers every message of every request.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a list of content parts, or null")
            }

            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::None)
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = seq.next_element::<Part>()? {
                    parts.push(part.text);
                }
                Ok(Content::Parts(parts))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

/// A tool call, in requests and in answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id that the answering `tool` message names.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// What to call.
    pub function: FunctionCall,
}

fn function() -> String {
    "function".to_owned()
}

impl ToolCall {
    /// A call of `name` with raw `arguments`.
    pub fn new(id: String, name: String, arguments: String) -> Self {
        Self {
            id,
            kind: function(),
            function: FunctionCall { name, arguments },
        }
    }
}

/// The function of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The tool's name.
    pub name: String,
    /// The arguments: JSON in a string, which a model may well get wrong.
    pub arguments: String,
}

/// A tool on offer.
#[derive(Debug, Clone, Deserialize)]
pub struct Tool {
    /// Must be `function`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The function on offer.
    pub function: FunctionSpec,
}

/// The function of a tool on offer.
#[derive(Debug, Clone, Deserialize)]
pub struct FunctionSpec {
    /// 1 to 64 of `a-z A-Z 0-9 _ -`.
    pub name: String,
    /// What it does, for the model.
    #[serde(default)]
    pub description: Option<String>,
    /// The JSON schema of its arguments, as sent.
    #[serde(default)]
    pub parameters: Option<Box<RawValue>>,
}
