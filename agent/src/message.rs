//! Messages and tools as the model sees them. Modelled on Chat Completions, but independent of the wire format.

use serde_json::Value;

use crate::Prompt;

/// A tool call as the model wrote it, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// ID of this call, repeated in its result.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Should be a JSON object, but can be any text.
    pub arguments: String,
}

/// One message of the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The system prompt.
    System(Prompt),
    /// A message from the user.
    User {
        /// The text.
        content: String,
    },
    /// An answer from the model.
    Assistant {
        /// The text. Can be empty if there are tool calls.
        content: String,
        /// The tool calls. The [`Message::Tool`] messages that follow contain one result for each.
        tool_calls: Vec<ToolCall>,
        /// The [`provider_data`](crate::ModelAnswer::provider_data) of the answer.
        provider_data: Option<Box<Value>>,
    },
    /// The result of a tool call.
    Tool {
        /// The [`ToolCall::id`] of the call.
        tool_call_id: String,
        /// The result as JSON text.
        content: String,
    },
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Name of the tool.
    pub name: String,
    /// What the tool does and when to use it, for the model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: Value,
}
