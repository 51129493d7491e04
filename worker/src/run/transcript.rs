//! Converts what a claim read from the database into the agent's types.

use std::collections::BTreeMap;

use errand_agent::{JournalledStep, PlannedCall, RecordedCall, Turn, TurnOutcome};
use errand_shared::{
    Uuid,
    domain::chat::ToolCallView,
    storage::{
        journal::{pending_calls::PendingCall, steps::with_user_id},
        queue::claims::{PastMessage, PastStep, PastTurn},
    },
};
use serde_json::Value;

/// The earlier messages of the conversation.
pub(crate) fn history(turns: Vec<PastTurn>) -> Vec<Turn> {
    turns.into_iter().map(turn).collect()
}

fn turn(past: PastTurn) -> Turn {
    let mut turn = Turn {
        user: String::new(),
        calls: Vec::new(),
        provider_data: BTreeMap::new(),
        reply: None,
        outcome: match past.status.as_str() {
            "succeeded" => TurnOutcome::Succeeded,
            "cancelled" => TurnOutcome::Cancelled,
            _ => TurnOutcome::Failed,
        },
    };
    for message in past.messages {
        match message.role.as_str() {
            "user" => turn.user = message.content,
            "assistant" => turn.reply = Some(message.content),
            _ => {
                let (call, provider_data) = past_call(message);
                turn.provider_data
                    .extend(provider_data.map(|data| (call.step, data)));
                turn.calls.push(call);
            }
        }
    }
    turn
}

/// A call of an earlier run, and the provider's data of its step if the call is the first of that.
fn past_call(mut message: PastMessage) -> (RecordedCall, Option<Value>) {
    let provider_data = message.metadata.get_mut("provider_data").map(Value::take);
    let call = RecordedCall {
        step: message
            .metadata
            .get("step")
            .and_then(Value::as_u64)
            .map_or(0, saturating),
        id: message.tool_call_id.unwrap_or_default(),
        name: message.name.unwrap_or_default(),
        arguments: message
            .metadata
            .get_mut("arguments")
            .map_or(Value::Null, Value::take),
        result: message.content,
    };
    (call, provider_data)
}

fn saturating(step: u64) -> u16 {
    u16::try_from(step).unwrap_or(u16::MAX)
}

/// The steps that earlier attempts of the run have recorded.
pub(crate) fn journal(steps: &[PastStep]) -> Vec<JournalledStep> {
    steps
        .iter()
        .map(|past| {
            let step = u16::try_from(past.step).unwrap_or_default();
            JournalledStep {
                step,
                content: past.content.clone(),
                provider_data: past.provider_data.clone().map(Box::new),
                calls: past
                    .calls
                    .iter()
                    .map(|call| RecordedCall {
                        step,
                        id: call.tool_call_id.clone(),
                        name: call.tool_name.clone(),
                        arguments: call.arguments.clone(),
                        result: call.result.to_string(),
                    })
                    .collect(),
                pending: past.pending.iter().map(pending_call).collect(),
            }
        })
        .collect()
}

/// A recorded call that has no result yet. It is made as recorded.
fn pending_call(call: &PendingCall) -> PlannedCall {
    let arguments = match (&call.refusal, &call.arguments) {
        (None, Value::Object(arguments)) => Ok(arguments.clone()),
        (Some(refusal), _) => Err(refusal.clone()),
        (None, _) => Err("the arguments are not a JSON object".to_owned()),
    };
    PlannedCall {
        index: u16::try_from(call.index).unwrap_or_default(),
        id: call.tool_call_id.clone(),
        name: call.tool_name.clone(),
        arguments,
    }
}

/// The calls of earlier attempts, in the form that responses show.
pub(crate) fn records(steps: &[PastStep], user_id: Uuid) -> Vec<ToolCallView> {
    steps
        .iter()
        .flat_map(|step| &step.calls)
        .map(|call| ToolCallView {
            tool_call_id: call.tool_call_id.clone(),
            tool_name: call.tool_name.clone(),
            arguments: with_user_id(&call.arguments, user_id),
            result: call.result.clone(),
        })
        .collect()
}
