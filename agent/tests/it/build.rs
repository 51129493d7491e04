//! Short constructors for the tests.
#![expect(clippy::panic, reason = "an unexpected action fails the test")]

use std::{collections::BTreeMap, sync::Arc};

use errand_agent::{
    Action, AgentRun, FinishReason, Instructions, Limits, Message, ModelAnswer, Prompt, RecordedCall,
    ToolCall, Turn, TurnOutcome, Usage,
};
use serde_json::{Value, json};

pub(crate) fn prompt() -> Prompt {
    Prompt::new("Ann", "2026-01-31", Arc::new(Instructions::new("You help.")))
}

pub(crate) fn fresh(limits: Limits) -> AgentRun {
    AgentRun::new(limits, prompt(), Vec::new(), "add milk".to_owned(), Vec::new())
}

pub(crate) fn with_history(limits: Limits, history: Vec<Turn>) -> AgentRun {
    AgentRun::new(limits, prompt(), history, "and now?".to_owned(), Vec::new())
}

pub(crate) fn text(content: &str) -> ModelAnswer {
    ModelAnswer {
        content: content.to_owned(),
        refusal: None,
        tool_calls: Vec::new(),
        finish: FinishReason::Stop,
        usage: Usage {
            prompt_tokens: 10,
            completion_tokens: 3,
            is_estimated: false,
        },
        model: "m-1".to_owned(),
        provider_data: None,
    }
}

pub(crate) fn calling(calls: &[(&str, &str, &str)]) -> ModelAnswer {
    let tool_calls = calls
        .iter()
        .map(|(id, name, arguments)| ToolCall {
            id: (*id).to_owned(),
            name: (*name).to_owned(),
            arguments: (*arguments).to_owned(),
        })
        .collect();
    ModelAnswer {
        tool_calls,
        finish: FinishReason::ToolCalls,
        ..text("")
    }
}

pub(crate) fn messages(run: &AgentRun) -> Vec<Message> {
    match run.next() {
        Action::CallModel { messages } => messages.to_vec(),
        other => panic!("expected a model call, got {other:?}"),
    }
}

pub(crate) fn recorded(step: u16, id: &str, result: &str) -> RecordedCall {
    RecordedCall {
        step,
        id: id.to_owned(),
        name: "measure".to_owned(),
        arguments: json!({"title": "milk"}),
        result: result.to_owned(),
    }
}

pub(crate) fn turn(user: &str, calls: Vec<RecordedCall>, reply: Option<&str>, outcome: TurnOutcome) -> Turn {
    Turn {
        user: user.to_owned(),
        calls,
        reply: reply.map(str::to_owned),
        outcome,
        provider_data: BTreeMap::new(),
    }
}

pub(crate) fn user(content: &str) -> Message {
    Message::User {
        content: content.to_owned(),
    }
}

pub(crate) fn assistant(content: &str) -> Message {
    Message::Assistant {
        content: content.to_owned(),
        tool_calls: Vec::new(),
        provider_data: None,
    }
}

pub(crate) fn calls(content: &str, ids: &[&str]) -> Message {
    let tool_calls = ids
        .iter()
        .map(|id| ToolCall {
            id: (*id).to_owned(),
            name: "measure".to_owned(),
            arguments: r#"{"title":"milk"}"#.to_owned(),
        })
        .collect();
    Message::Assistant {
        content: content.to_owned(),
        tool_calls,
        provider_data: None,
    }
}

pub(crate) fn result(id: &str, content: &str) -> Message {
    Message::Tool {
        tool_call_id: id.to_owned(),
        content: content.to_owned(),
    }
}

pub(crate) fn with_provider_data(mut message: Message, data: Value) -> Message {
    let Message::Assistant { provider_data, .. } = &mut message else {
        panic!("{message:?} has no provider data")
    };
    *provider_data = Some(Box::new(data));
    message
}
