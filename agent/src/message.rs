//! What is said to the model: messages, tool calls and the tools on offer. Shaped like Chat Completions, bound to none.

use serde_json::Value;

use crate::Prompt;

/// A tool call as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The model's name for this call; its answer bears the same.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// JSON text, which need not be valid.
    pub arguments: String,
}

/// One message of the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The instructions.
    System(Prompt),
    /// What the user said.
    User {
        /// Its text.
        content: String,
    },
    /// What the model said, and the tools that it asked for.
    Assistant {
        /// Its text; may be empty beside tool calls.
        content: String,
        /// Each is answered by one of the [`Message::Tool`] messages that follow at once.
        tool_calls: Vec<ToolCall>,
    },
    /// A tool's answer.
    Tool {
        /// The [`ToolCall::id`] that it answers.
        tool_call_id: String,
        /// JSON text.
        content: String,
    },
}

/// A tool on offer to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// The name to call it by.
    pub name: String,
    /// What it does and when to use it, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}
