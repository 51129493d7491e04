//! What a provider sends with tool calls and may require back with them: reasoning, and signatures of reasoning.
//!
//! DeepSeek rejects a request whose earlier calls lack their `reasoning_content`, Gemini 3 one whose calls lack their
//! `thought_signature`, and OpenRouter passes such requests on. The data is recorded with the step as
//! `{"source": "<host>/<model>", "message": {…}, "calls": [{…} or null, …]}` and sent back unchanged, but only to the model and
//! server that it came from.

use errand_agent::{Message, ToolCall};
use serde::Serialize;
use serde_json::{Map, Value};

use super::chunk::{CallDelta, Delta};

/// At most this many bytes of data are kept with an answer. Beyond that, all of it is dropped: a part of it is worthless.
const MAX_BYTES: usize = 256 * 1024;
/// Longest ID of a tool call that the journal stores, in characters. A longer one is kept here: LiteLLM appends signatures to IDs.
const MAX_ID_CHARS: usize = 255;
/// Members of list items whose pieces are concatenated. Other members replace the earlier ones.
const GROWING: [&str; 3] = ["text", "summary", "thinking"];

/// Collects the data of an answer from its chunks.
#[derive(Debug, Default)]
pub(super) struct Collector {
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    reasoning_details: Vec<Value>,
    thinking_blocks: Vec<Value>,
    extra_content: Option<Value>,
    bytes: usize,
}

impl Collector {
    /// Adds what a piece of the message contains.
    pub(super) fn add(&mut self, delta: &Delta<'_>) {
        if self.bytes > MAX_BYTES {
            return;
        }
        for (text, more) in [
            (&mut self.reasoning_content, &delta.reasoning_content),
            (&mut self.reasoning, &delta.reasoning),
        ] {
            if let Some(more) = more.0.as_deref() {
                self.bytes += more.len();
                text.get_or_insert_default().push_str(more);
            }
        }
        for (list, more) in [
            (&mut self.reasoning_details, &delta.reasoning_details),
            (&mut self.thinking_blocks, &delta.thinking_blocks),
        ] {
            if let Some(Value::Array(items)) = more {
                for item in items {
                    self.bytes += text_bytes(item);
                    merge_item(list, item);
                }
            }
        }
        if let Some(extra) = &delta.extra_content {
            self.bytes += text_bytes(extra);
            merge(&mut self.extra_content, extra);
        }
    }

    /// The data of an answer with tool calls, whose own data is `calls`. `None` if the provider sent nothing.
    pub(super) fn finish(self, source: &str, calls: Vec<Option<Value>>) -> Option<Box<Value>> {
        let bytes = self.bytes + calls.iter().flatten().map(text_bytes).sum::<usize>();
        if bytes > MAX_BYTES {
            tracing::warn!(
                bytes,
                "the model's reasoning is too long to be sent back with its tool calls"
            );
            return None;
        }
        let has_details = !self.reasoning_details.is_empty();
        let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Array(items));
        let members = [
            ("reasoning_content", self.reasoning_content.map(Value::String)),
            // OpenRouter derives the text from the details, which are complete.
            (
                "reasoning",
                self.reasoning
                    .filter(|text| !has_details && !text.is_empty())
                    .map(Value::String),
            ),
            ("reasoning_details", list(self.reasoning_details)),
            ("thinking_blocks", list(self.thinking_blocks)),
            ("extra_content", self.extra_content),
        ];
        let message: Map<String, Value> = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        let has_call_data = calls.iter().any(Option::is_some);
        if message.is_empty() && !has_call_data {
            return None;
        }
        let mut data = Map::new();
        data.insert("source".to_owned(), source.into());
        data.insert("message".to_owned(), message.into());
        if has_call_data {
            let calls = calls.into_iter().map(Option::unwrap_or_default).collect();
            data.insert("calls".to_owned(), Value::Array(calls));
        }
        Some(Box::new(data.into()))
    }
}

/// Adds what a piece of a tool call contains beyond the call itself to `data`.
pub(super) fn add_call_data(data: &mut Option<Value>, delta: &CallDelta<'_>) {
    let function = delta.function.0.as_ref();
    let specific = function.and_then(|function| function.provider_specific_fields.as_ref());
    for (name, value) in [
        ("extra_content", delta.extra_content.as_ref()),
        (
            "provider_specific_fields",
            delta.provider_specific_fields.as_ref().or(specific),
        ),
    ] {
        if let Some(value) = value {
            let mut object = Map::new();
            object.insert(name.to_owned(), value.clone());
            merge(data, &Value::Object(object));
        }
    }
}

/// Adds an ID that is too long for the journal to the data of its call.
pub(super) fn keep_long_id(data: &mut Option<Value>, call: &ToolCall) {
    if call.id.chars().count() > MAX_ID_CHARS {
        let mut object = Map::new();
        object.insert("id".to_owned(), call.id.clone().into());
        merge(data, &Value::Object(object));
    }
}

/// Merges objects at any depth; anything else replaces what was there.
fn merge(target: &mut Option<Value>, source: &Value) {
    match (target, source) {
        (Some(Value::Object(target)), Value::Object(source)) => {
            for (name, value) in source {
                let mut merged = target.remove(name);
                merge(&mut merged, value);
                target.insert(name.clone(), merged.unwrap_or_default());
            }
        }
        (target, source) => *target = Some(source.clone()),
    }
}

/// Adds a piece of a list whose items are streamed: a piece with the type of the last item, and its index if it has one, continues
/// that item.
fn merge_item(list: &mut Vec<Value>, piece: &Value) {
    let same = |item: &Value, name: &str| item.get(name) == piece.get(name);
    let Some(Value::Object(previous)) = list.last_mut().filter(|item| {
        let is_growing = |name: &str| item.get(name).is_some() || piece.get(name).is_some();
        same(item, "type") && same(item, "index") && GROWING.iter().any(|name| is_growing(name))
    }) else {
        list.push(piece.clone());
        return;
    };
    for (name, value) in piece.as_object().into_iter().flatten() {
        match (previous.get_mut(name), value) {
            (Some(Value::String(text)), Value::String(more)) if GROWING.contains(&name.as_str()) => {
                text.push_str(more);
            }
            (Some(known), Value::Null) if !known.is_null() => {}
            _ => {
                previous.insert(name.clone(), value.clone());
            }
        }
    }
}

/// The bytes of text in a value: a cheap measure of its size.
pub(super) fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() + text_bytes(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => size_of::<u64>(),
    }
}

/// The data of a message, as it is sent back.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct MessageData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_blocks: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a Value>,
}

impl<'a> MessageData<'a> {
    /// The data of an assistant's message, if it came from `source`.
    pub(super) fn of(message: &'a Message, source: &str) -> Self {
        let Some(members) = recorded(message, source).and_then(|data| data.get("message")) else {
            return Self::default();
        };
        Self {
            reasoning_content: members.get("reasoning_content").and_then(Value::as_str),
            reasoning: members.get("reasoning"),
            reasoning_details: members.get("reasoning_details"),
            thinking_blocks: members.get("thinking_blocks"),
            extra_content: members.get("extra_content"),
        }
    }
}

/// The data of the tool calls of an assistant's message, if it came from `source`. Empty if the calls in the message are not all
/// calls of the answer: then their positions are unknown.
pub(super) fn of_calls<'a>(message: &'a Message, source: &str) -> &'a [Value] {
    let Message::Assistant { tool_calls, .. } = message else {
        return &[];
    };
    recorded(message, source)
        .and_then(|data| data.get("calls")?.as_array())
        .filter(|calls| calls.len() == tool_calls.len())
        .map_or(&[], Vec::as_slice)
}

fn recorded<'a>(message: &'a Message, source: &str) -> Option<&'a Value> {
    match message {
        Message::Assistant { provider_data, .. } => provider_data
            .as_deref()
            .filter(|data| data.get("source").is_some_and(|recorded| recorded == source)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
