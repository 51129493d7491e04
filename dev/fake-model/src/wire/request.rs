//! A Chat Completions request: the members that this server uses or records.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// The body of `POST /v1/chat/completions`. Other members are ignored.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ChatRequest {
    /// The requested model. This server accepts any name.
    #[serde(default)]
    pub model: String,
    /// The transcript, oldest first.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// The tools that may be called.
    #[serde(default)]
    pub tools: Option<Vec<Tool>>,
    /// `"none"` disables tool calls; any other value is treated as `"auto"`.
    #[serde(default)]
    pub tool_choice: Option<Value>,
    /// Whether to stream the answer.
    #[serde(default)]
    pub stream: Option<bool>,
    /// Options of the stream.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// Sampling temperature. Recorded, but has no effect.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Maximum tokens of the answer. Recorded, but has no effect.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// The newer name of `max_tokens`.
    #[serde(default)]
    pub max_completion_tokens: Option<u64>,
}

impl ChatRequest {
    /// Whether the client asked for a stream.
    pub fn wants_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// Whether the stream should end with a chunk that contains the usage.
    pub fn wants_usage_chunk(&self) -> bool {
        self.stream_options
            .as_ref()
            .is_some_and(|options| options.include_usage == Some(true))
    }

    /// Whether the model may call the tool `name`.
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
    /// Requests a final chunk with the usage.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

/// One message of the transcript.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The text, if any.
    #[serde(default)]
    pub content: Content,
    /// Name of the author.
    #[serde(default)]
    pub name: Option<String>,
    /// Tool calls of an assistant message.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// ID of the call that a `tool` message answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A message with this role and text.
    pub fn new(role: &str, text: &str) -> Self {
        Self {
            role: role.to_owned(),
            content: Content::Text(text.to_owned()),
            ..Self::default()
        }
    }

    /// The text of the message, or an empty text.
    pub fn text(&self) -> Cow<'_, str> {
        self.content.text()
    }

    /// The tool calls, possibly empty.
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
    /// The text of each part, in order. Empty for parts that are not text.
    Parts(Vec<String>),
}

impl Content {
    /// The whole text, with parts joined by line breaks.
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

    /// Whether the content has no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An element of a list of content parts.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

// Implemented by hand because an untagged enum would buffer every message of every request.
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
    /// ID to which the `tool` message with the result refers.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// Name and arguments.
    pub function: FunctionCall,
}

fn function() -> String {
    "function".to_owned()
}

impl ToolCall {
    /// A call of `name` with unparsed `arguments`.
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
    /// The arguments: a string that should contain JSON.
    pub arguments: String,
}

/// A tool that the model may call.
#[derive(Debug, Clone, Deserialize)]
pub struct Tool {
    /// Must be `function`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Its name, description and parameters.
    pub function: FunctionSpec,
}

/// The function of a [`Tool`].
#[derive(Debug, Clone, Deserialize)]
pub struct FunctionSpec {
    /// 1 to 64 characters of `a-z A-Z 0-9 _ -`.
    pub name: String,
    /// Description for the model.
    #[serde(default)]
    pub description: Option<String>,
    /// JSON Schema of the arguments, unparsed.
    #[serde(default)]
    pub parameters: Option<Box<RawValue>>,
}
