//! Builds the transcript that the model sees. It is bounded and always valid for Chat Completions.
//!
//! Each tool call is answered by a tool message directly after the assistant message with the call. An assistant message
//! follows each user message, because strict servers require alternating roles.

use serde::Serialize;
use serde_json::Value;

use crate::ids::Ids;
use crate::plan::{NO_ARGUMENTS, object_text};
use crate::{JournalledStep, Limits, Message, PlannedCall, RecordedCall, ToolCall, Turn, TurnOutcome};

/// Tokens of a message beyond its text, rounded up: role, separators, IDs.
const MESSAGE_OVERHEAD: usize = 8;

/// Size of a truncated result without its excerpt, in bytes, rounded up.
const TRUNCATION_OVERHEAD: usize = 256;

/// Tool results are not shortened below this size, in bytes.
const MIN_RESULT_BYTES: usize = 1024;

/// The messages of earlier turns, oldest first: as many of the newest turns as fit the limits. A turn is included entirely or
/// not at all, with one exception: if the newest turn alone is too large, it is included without its tool calls, so that
/// the model can still resolve "the second one".
pub(crate) fn history(turns: Vec<Turn>, limits: &Limits) -> Vec<Message> {
    let mut kept: Vec<Vec<Message>> = Vec::new();
    let mut messages_left = limits.history_max_messages;
    let mut tokens_left = limits.history_max_tokens;
    for turn in turns.into_iter().rev() {
        let short = kept.is_empty().then(|| without_calls(&turn));
        let candidates = [Some(complete(turn, limits)), short];
        let fitting = candidates
            .into_iter()
            .flatten()
            .find(|shown| fits(shown, messages_left, tokens_left));
        let Some(shown) = fitting else { break };
        messages_left -= shown.len();
        tokens_left -= shown.iter().map(tokens).sum::<usize>();
        kept.push(shown);
    }
    kept.into_iter().rev().flatten().collect()
}

fn fits(messages: &[Message], messages_left: usize, tokens_left: usize) -> bool {
    messages.len() <= messages_left && messages.iter().map(tokens).sum::<usize>() <= tokens_left
}

fn complete(turn: Turn, limits: &Limits) -> Vec<Message> {
    let last = last_message(&turn);
    let mut ids = Ids::default();
    let mut provider_data = turn.provider_data;
    let mut shown = vec![Message::User { content: turn.user }];
    let mut calls = turn.calls.into_iter().peekable();
    while let Some(first) = calls.next() {
        let step = first.step;
        let mut group = vec![first];
        while let Some(next) = calls.next_if(|next| next.step == step) {
            group.push(next);
        }
        let provider_data = provider_data.remove(&step).map(Box::new);
        push_calls(&mut shown, String::new(), provider_data, group, &mut ids, limits);
    }
    shown.push(last);
    shown
}

fn without_calls(turn: &Turn) -> Vec<Message> {
    let mut last = last_message(turn);
    if let Message::Assistant { content, .. } = &mut last
        && !turn.calls.is_empty()
    {
        content.insert_str(
            0,
            "[The tool calls made here are too long to be shown again.]\n\n",
        );
    }
    vec![
        Message::User {
            content: turn.user.clone(),
        },
        last,
    ]
}

/// The last message of a turn. A note marks failed and cancelled runs, because their committed calls did take effect.
fn last_message(turn: &Turn) -> Message {
    let note = match (turn.outcome, !turn.calls.is_empty()) {
        (TurnOutcome::Succeeded, _) => None,
        (TurnOutcome::Failed, true) => Some("[That run failed after these calls.]"),
        (TurnOutcome::Failed, false) => Some("[That run failed before it did anything.]"),
        (TurnOutcome::Cancelled, true) => Some("[That run was cancelled after these calls.]"),
        (TurnOutcome::Cancelled, false) => Some("[That run was cancelled before it did anything.]"),
    };
    let reply = turn.reply.as_deref().filter(|reply| !reply.trim().is_empty());
    let content = match (reply, note) {
        (Some(reply), None) => reply.to_owned(),
        (Some(reply), Some(note)) => format!("{reply}\n\n{note}"),
        (None, Some(note)) => note.to_owned(),
        (None, None) => "[That run gave no reply.]".to_owned(),
    };
    Message::Assistant {
        content,
        tool_calls: Vec::new(),
        provider_data: None,
    }
}

/// Appends a step: the assistant message with its calls, then their results.
pub(crate) fn push_calls(
    messages: &mut Vec<Message>,
    content: String,
    provider_data: Option<Box<Value>>,
    calls: Vec<RecordedCall>,
    ids: &mut Ids,
    limits: &Limits,
) {
    let mut tool_calls = Vec::with_capacity(calls.len());
    let mut results = Vec::with_capacity(calls.len());
    for (index, call) in calls.into_iter().enumerate() {
        let (call, result) = recorded_call(call, index, ids, limits);
        tool_calls.push(call);
        results.push(result);
    }
    messages.push(Message::Assistant {
        content,
        tool_calls,
        provider_data,
    });
    messages.extend(results);
}

/// The transcript form of a call and its result.
fn recorded_call(call: RecordedCall, index: usize, ids: &mut Ids, limits: &Limits) -> (ToolCall, Message) {
    let id = ids.assign(&call.id, call.step, index);
    let arguments = match &call.arguments {
        Value::Object(object) => object_text(object),
        _ => NO_ARGUMENTS.to_owned(),
    };
    let result = Message::Tool {
        tool_call_id: id.clone(),
        content: bounded_result(call.result, limits),
    };
    let call = ToolCall {
        id,
        name: call.name,
        arguments,
    };
    (call, result)
}

/// Appends a deferred step: the assistant message with all its calls, then the results so far. Returns the pending calls.
pub(crate) fn push_deferred(
    messages: &mut Vec<Message>,
    step: JournalledStep,
    ids: &mut Ids,
    limits: &Limits,
) -> Vec<PlannedCall> {
    let JournalledStep {
        step: number,
        content,
        provider_data,
        calls,
        mut pending,
    } = step;
    let mut recorded = calls.into_iter();
    let mut tool_calls = Vec::with_capacity(recorded.len() + pending.len());
    let mut results = Vec::with_capacity(recorded.len());
    let mut unanswered = pending.iter_mut().peekable();
    for position in 0_usize.. {
        if let Some(call) = unanswered.next_if(|call| usize::from(call.index) <= position) {
            call.id = ids.assign(&call.id, number, position);
            tool_calls.push(call.as_tool_call());
        } else if let Some(call) = recorded.next() {
            let (call, result) = recorded_call(call, position, ids, limits);
            tool_calls.push(call);
            results.push(result);
        } else if let Some(call) = unanswered.next() {
            call.id = ids.assign(&call.id, number, position);
            tool_calls.push(call.as_tool_call());
        } else {
            break;
        }
    }
    messages.push(Message::Assistant {
        content,
        tool_calls,
        provider_data,
    });
    messages.extend(results);
    pending
}

/// Appends the assistant message of a step whose calls have no results yet.
pub(crate) fn push_plan(
    messages: &mut Vec<Message>,
    content: String,
    provider_data: Option<Box<Value>>,
    calls: &[PlannedCall],
) {
    messages.push(Message::Assistant {
        content,
        tool_calls: calls.iter().map(PlannedCall::as_tool_call).collect(),
        provider_data,
    });
}

#[derive(Serialize)]
struct TruncatedResult<'a> {
    truncated: bool,
    message: String,
    beginning: &'a str,
}

/// The result as the model sees it. A result that is too large is replaced with its beginning and a note. The call took
/// effect in both cases.
pub(crate) fn bounded_result(result: String, limits: &Limits) -> String {
    let max = limits.max_result_bytes;
    if result.len() <= max {
        return result;
    }
    // As a JSON string, JSON text at most doubles in size: it has no raw control characters, only quotes and backslashes.
    let room = max.saturating_sub(TRUNCATION_OVERHEAD) / 2;
    let cut = TruncatedResult {
        truncated: true,
        message: format!(
            "The result has {} bytes, so only its beginning is shown. Request less at once.",
            result.len()
        ),
        beginning: result.get(..result.floor_char_boundary(room)).unwrap_or_default(),
    };
    serde_json::to_string(&cut).unwrap_or_else(|_| r#"{"truncated":true}"#.to_owned())
}

/// Shortens a transcript that exceeds the model's context window: removes the older half of the earlier turns, or, without
/// earlier turns, halves the largest results of the run's own tool calls, which are those after the message `own`, the user's. Returns whether
/// anything could be shortened. `own` remains the position of the user's message.
pub(crate) fn shorten(messages: &mut Vec<Message>, own: &mut usize, limits: &Limits) -> bool {
    let history = messages.get(1..*own).unwrap_or_default();
    let turns: Vec<usize> = (1_usize..)
        .zip(history)
        .filter_map(|(position, message)| matches!(message, Message::User { .. }).then_some(position))
        .collect();
    if !turns.is_empty() {
        let first_kept = turns.get(turns.len().div_ceil(2)).copied().unwrap_or(*own);
        messages.drain(1..first_kept);
        *own -= first_kept - 1;
        return true;
    }
    let result_bytes = |message: &Message| match message {
        Message::Tool { content, .. } => content.len(),
        _ => 0,
    };
    let largest = messages.iter().map(result_bytes).max().unwrap_or(0);
    if largest <= MIN_RESULT_BYTES {
        return false;
    }
    let limits = Limits {
        max_result_bytes: (largest / 2).max(MIN_RESULT_BYTES),
        ..*limits
    };
    for message in messages {
        if let Message::Tool { content, .. } = message {
            *content = bounded_result(std::mem::take(content), &limits);
        }
    }
    true
}

/// Estimates the tokens of a message, rather too high than too low: one per four ASCII characters, one per other character,
/// and an overhead per message and call. Real tokenizers differ between models.
pub(crate) fn tokens(message: &Message) -> usize {
    let text = match message {
        Message::System(prompt) => text_tokens(&prompt.to_string()),
        Message::User { content } | Message::Tool { content, .. } => text_tokens(content),
        Message::Assistant {
            content,
            tool_calls,
            provider_data,
        } => {
            let provider_data = provider_data
                .as_ref()
                .map_or(0, |data| text_tokens(&data.to_string()));
            let calls: usize = tool_calls
                .iter()
                .map(|call| MESSAGE_OVERHEAD + text_tokens(&call.name) + text_tokens(&call.arguments))
                .sum();
            text_tokens(content) + calls + provider_data
        }
    };
    text + MESSAGE_OVERHEAD
}

fn text_tokens(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().filter(|char| !char.is_ascii()).count();
    ascii.div_ceil(4) + others
}
