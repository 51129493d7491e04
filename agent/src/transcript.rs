//! What the model is shown: always valid for Chat Completions, and bounded.
//!
//! Every tool call is answered by a tool message right after the assistant message that made it; every user message is
//! followed by an assistant message, so that strict servers see the roles alternate.

use serde::Serialize;
use serde_json::Value;

use crate::ids::Ids;
use crate::plan::{NO_ARGUMENTS, object_text};
use crate::{JournalledStep, Limits, Message, PastCall, PlannedCall, ToolCall, Turn, TurnOutcome};

/// What a message costs beyond its text, in tokens: role, separators, ids. Rounded up.
const MESSAGE_OVERHEAD: usize = 8;

/// Room for everything but the beginning in the stand-in for a large result, in bytes.
const STAND_IN_OVERHEAD: usize = 256;

/// The earlier turns, oldest first, as many of the newest as fit the bounds. A turn is shown whole or not at all, with
/// one exception: a newest turn that is too large by itself is shown without its tool calls, so that the user's "the
/// second one" still has something to mean.
pub(crate) fn history(turns: Vec<Turn>, limits: &Limits) -> Vec<Message> {
    let mut kept: Vec<Vec<Message>> = Vec::new();
    let mut messages_left = limits.history_max_messages;
    let mut tokens_left = limits.history_max_tokens;
    for turn in turns.into_iter().rev() {
        let short = kept.is_empty().then(|| without_calls(&turn));
        let candidates = [Some(whole(turn, limits)), short];
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

fn whole(turn: Turn, limits: &Limits) -> Vec<Message> {
    let end = ending(&turn);
    let mut ids = Ids::default();
    let mut shown = vec![Message::User { content: turn.user }];
    let mut calls = turn.calls.into_iter().peekable();
    while let Some(first) = calls.next() {
        let step = first.step;
        let mut group = vec![first];
        while let Some(next) = calls.next_if(|next| next.step == step) {
            group.push(next);
        }
        push_calls(&mut shown, String::new(), group, &mut ids, limits);
    }
    shown.push(end);
    shown
}

fn without_calls(turn: &Turn) -> Vec<Message> {
    let mut end = ending(turn);
    if let Message::Assistant { content, .. } = &mut end
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
        end,
    ]
}

/// The last message of a turn. What a failed or cancelled run committed stands, so the model is told.
fn ending(turn: &Turn) -> Message {
    let note = match (turn.outcome, !turn.calls.is_empty()) {
        (TurnOutcome::Succeeded, _) => None,
        (TurnOutcome::Failed, true) => Some("[That run failed after these calls.]"),
        (TurnOutcome::Failed, false) => Some("[That run failed before it did anything.]"),
        (TurnOutcome::Cancelled, true) => Some("[That run was cancelled after these calls.]"),
        (TurnOutcome::Cancelled, false) => Some("[That run was cancelled before it did anything.]"),
    };
    let said = turn.reply.as_deref().filter(|reply| !reply.trim().is_empty());
    let content = match (said, note) {
        (Some(reply), None) => reply.to_owned(),
        (Some(reply), Some(note)) => format!("{reply}\n\n{note}"),
        (None, Some(note)) => note.to_owned(),
        (None, None) => "[That run gave no reply.]".to_owned(),
    };
    Message::Assistant {
        content,
        tool_calls: Vec::new(),
    }
}

/// Adds one step: the assistant message with its calls, then an answer to each.
pub(crate) fn push_calls(
    messages: &mut Vec<Message>,
    content: String,
    calls: Vec<PastCall>,
    ids: &mut Ids,
    limits: &Limits,
) {
    let mut tool_calls = Vec::with_capacity(calls.len());
    let mut answers = Vec::with_capacity(calls.len());
    for (index, call) in calls.into_iter().enumerate() {
        let (call, answer) = past_call(call, index, ids, limits);
        tool_calls.push(call);
        answers.push(answer);
    }
    messages.push(Message::Assistant { content, tool_calls });
    messages.extend(answers);
}

/// An answered call and its answer.
fn past_call(call: PastCall, index: usize, ids: &mut Ids, limits: &Limits) -> (ToolCall, Message) {
    let id = ids.claim(&call.id, call.step, index);
    let arguments = match &call.arguments {
        Value::Object(object) => object_text(object),
        _ => NO_ARGUMENTS.to_owned(),
    };
    let answer = Message::Tool {
        tool_call_id: id.clone(),
        content: bounded_result(call.result, limits),
    };
    let call = ToolCall {
        id,
        name: call.name,
        arguments,
    };
    (call, answer)
}

/// Adds a step of which some answers are still to come: the assistant message with all its calls, then the answers that
/// there are. Gives the calls that are left.
pub(crate) fn push_open(
    messages: &mut Vec<Message>,
    step: JournalledStep,
    ids: &mut Ids,
    limits: &Limits,
) -> Vec<PlannedCall> {
    let JournalledStep {
        step: number,
        content,
        calls,
        mut open,
    } = step;
    let mut answered = calls.into_iter();
    let mut tool_calls = Vec::with_capacity(answered.len() + open.len());
    let mut answers = Vec::with_capacity(answered.len());
    let mut left = open.iter_mut().peekable();
    for place in 0_usize.. {
        if let Some(call) = left.next_if(|call| usize::from(call.index) <= place) {
            call.id = ids.claim(&call.id, number, place);
            tool_calls.push(call.as_tool_call());
        } else if let Some(call) = answered.next() {
            let (call, answer) = past_call(call, place, ids, limits);
            tool_calls.push(call);
            answers.push(answer);
        } else if let Some(call) = left.next() {
            call.id = ids.claim(&call.id, number, place);
            tool_calls.push(call.as_tool_call());
        } else {
            break;
        }
    }
    messages.push(Message::Assistant { content, tool_calls });
    messages.extend(answers);
    open
}

/// Adds the assistant message of a step whose answers are still to come.
pub(crate) fn push_plan(messages: &mut Vec<Message>, content: String, calls: &[PlannedCall]) {
    let tool_calls = calls.iter().map(PlannedCall::as_tool_call).collect();
    messages.push(Message::Assistant { content, tool_calls });
}

#[derive(Serialize)]
struct CutResult<'a> {
    truncated: bool,
    message: String,
    beginning: &'a str,
}

/// The result as the model is shown it: whole if it keeps to the bound, else its beginning and a word that it was cut.
/// The call itself took effect either way.
pub(crate) fn bounded_result(result: String, limits: &Limits) -> String {
    let max = limits.max_result_bytes;
    if result.len() <= max {
        return result;
    }
    // JSON text in a JSON string at most doubles: it holds no raw control characters, only quotes and backslashes.
    let room = max.saturating_sub(STAND_IN_OVERHEAD) / 2;
    let cut = CutResult {
        truncated: true,
        message: format!(
            "The result has {} bytes, so only its beginning is shown; ask for less at once.",
            result.len()
        ),
        beginning: result.get(..result.floor_char_boundary(room)).unwrap_or_default(),
    };
    serde_json::to_string(&cut).unwrap_or_else(|_| r#"{"truncated":true}"#.to_owned())
}

/// A rough count of a message's tokens, on the high side: four ASCII characters to a token, every other character a
/// token by itself, and an overhead a message and a call. No tokenizer is asked, because each model has its own.
pub(crate) fn tokens(message: &Message) -> usize {
    let text = match message {
        Message::System(prompt) => text_tokens(&prompt.to_string()),
        Message::User { content } | Message::Tool { content, .. } => text_tokens(content),
        Message::Assistant { content, tool_calls } => {
            let calls: usize = tool_calls
                .iter()
                .map(|call| MESSAGE_OVERHEAD + text_tokens(&call.name) + text_tokens(&call.arguments))
                .sum();
            text_tokens(content) + calls
        }
    };
    text + MESSAGE_OVERHEAD
}

fn text_tokens(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().filter(|char| !char.is_ascii()).count();
    ascii.div_ceil(4) + others
}
