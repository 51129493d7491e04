//! Validates requests as a provider does, with `OpenAI`'s error messages.

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{ChatRequest, FunctionSpec, Message};

/// The reason why a request is invalid. Sent with status 400.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// Description for people.
    pub message: String,
    /// Path of the invalid member.
    pub param: Option<String>,
    /// Error code for programs.
    pub code: Option<&'static str>,
}

impl InvalidRequest {
    fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: Some(param.into()),
            code: None,
        }
    }
}

pub(crate) fn validate(request: &ChatRequest) -> Result<(), InvalidRequest> {
    if request.model.is_empty() {
        return Err(InvalidRequest::new("model", "you must provide a model parameter"));
    }
    if request.messages.is_empty() {
        return Err(InvalidRequest {
            code: Some("empty_array"),
            ..InvalidRequest::new(
                "messages",
                "Invalid 'messages': empty array. Expected an array with minimum length 1.",
            )
        });
    }
    messages(&request.messages)?;
    tools(request)
}

/// Checks roles and contents, and that the messages after each tool call answer it exactly once.
fn messages(messages: &[Message]) -> Result<(), InvalidRequest> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let param = || format!("messages.[{at}]");
        if message.role == "tool" {
            let id = message.tool_call_id.as_deref().ok_or_else(|| {
                InvalidRequest::new(
                    param(),
                    format!("Missing parameter 'messages.[{at}].tool_call_id'."),
                )
            })?;
            let answered = open.iter().position(|open| *open == id).ok_or_else(|| {
                InvalidRequest::new(
                    param(),
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with \
                     'tool_calls'.",
                )
            })?;
            open.swap_remove(answered);
            continue;
        }
        unanswered(&open, at)?;
        match message.role.as_str() {
            "system" | "developer" | "user" => {
                if message.content == super::Content::None {
                    return Err(InvalidRequest::new(
                        format!("messages.[{at}].content"),
                        format!(
                            "Invalid value for 'content' of 'messages.[{at}]': expected a string, got null."
                        ),
                    ));
                }
            }
            "assistant" => open = assistant(message, at)?,
            other => {
                return Err(InvalidRequest {
                    code: Some("invalid_value"),
                    ..InvalidRequest::new(
                        format!("messages[{at}].role"),
                        format!(
                            "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'tool', \
                             and 'developer'."
                        ),
                    )
                });
            }
        }
    }
    unanswered(&open, messages.len())
}

/// Checks an assistant message. Returns the IDs that the next messages must answer.
fn assistant(message: &Message, at: usize) -> Result<Vec<&str>, InvalidRequest> {
    if message.tool_calls.as_ref().is_some_and(Vec::is_empty) {
        return Err(InvalidRequest {
            code: Some("empty_array"),
            ..InvalidRequest::new(
                format!("messages[{at}].tool_calls"),
                format!(
                    "Invalid 'messages[{at}].tool_calls': empty array. Expected an array with minimum length 1, but \
                     got an empty array instead."
                ),
            )
        });
    }
    if message.content == super::Content::None && message.calls().is_empty() {
        return Err(InvalidRequest::new(
            format!("messages.[{at}].content"),
            "Invalid value for 'content': expected a string, got null.",
        ));
    }
    let mut open: Vec<&str> = Vec::with_capacity(message.calls().len());
    for call in message.calls() {
        if call.function.name.is_empty() || call.id.is_empty() || open.contains(&call.id.as_str()) {
            return Err(InvalidRequest::new(
                format!("messages[{at}].tool_calls"),
                "Tool calls need a function name and an id that is unique in their message.",
            ));
        }
        open.push(&call.id);
    }
    Ok(open)
}

fn unanswered(open: &[&str], at: usize) -> Result<(), InvalidRequest> {
    if open.is_empty() {
        return Ok(());
    }
    let ids = open.join(", ");
    Err(InvalidRequest::new(
        format!("messages.[{at}].role"),
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
             'tool_call_id'. The following tool_call_ids did not have response messages: {ids}"
        ),
    ))
}

fn tools(request: &ChatRequest) -> Result<(), InvalidRequest> {
    let Some(tools) = &request.tools else {
        return Ok(());
    };
    if tools.is_empty() {
        return Err(InvalidRequest {
            code: Some("empty_array"),
            ..InvalidRequest::new(
                "tools",
                "Invalid 'tools': empty array. Expected an array with minimum length 1.",
            )
        });
    }
    for (at, tool) in tools.iter().enumerate() {
        if tool.kind != "function" {
            return Err(InvalidRequest {
                code: Some("invalid_value"),
                ..InvalidRequest::new(
                    format!("tools[{at}].type"),
                    "Invalid value: supported values are: 'function'.",
                )
            });
        }
        function(&tool.function, at)?;
        let twice = tools
            .iter()
            .take(at)
            .any(|earlier| earlier.function.name == tool.function.name);
        if twice {
            return Err(InvalidRequest::new(
                format!("tools[{at}].function.name"),
                format!("The tool '{}' is defined twice.", tool.function.name),
            ));
        }
    }
    Ok(())
}

fn function(function: &FunctionSpec, at: usize) -> Result<(), InvalidRequest> {
    let name = &function.name;
    let named = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if !named {
        return Err(InvalidRequest {
            code: Some("invalid_value"),
            ..InvalidRequest::new(
                format!("tools[{at}].function.name"),
                format!(
                    "Invalid 'tools[{at}].function.name': expected a string that matches '^[a-zA-Z0-9_-]+$'."
                ),
            )
        });
    }
    if function
        .parameters
        .as_deref()
        .is_some_and(|schema| !is_object_schema(schema))
    {
        return Err(InvalidRequest {
            code: Some("invalid_function_parameters"),
            ..InvalidRequest::new(
                format!("tools[{at}].function.parameters"),
                format!(
                    "Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"'."
                ),
            )
        });
    }
    Ok(())
}

/// Whether `schema` describes an object. Skips its members without parsing them.
fn is_object_schema(schema: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Outline<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        properties: Option<&'a RawValue>,
    }
    serde_json::from_str::<Outline<'_>>(schema.get()).is_ok_and(|outline| {
        let object = outline.kind.is_none_or(|kind| kind.get() == "\"object\"");
        let properties = outline.properties.is_none_or(|p| p.get().starts_with('{'));
        object && properties
    })
}
