//! Short names for what the tests are made of.
#![expect(clippy::panic, reason = "a test that meets another action has failed")]

use errand_agent::{
    Action, AgentRun, FinishReason, Limits, Message, ModelAnswer, PastCall, Prompt, ToolCall, Turn,
    TurnOutcome, Usage,
};
use serde_json::json;

pub(crate) fn prompt() -> Prompt {
    Prompt::new("Ann", "2026-01-31", None)
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
        },
        model: "m-1".to_owned(),
    }
}

pub(crate) fn asks(calls: &[(&str, &str, &str)]) -> ModelAnswer {
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
        other => panic!("not asking the model but {other:?}"),
    }
}

pub(crate) fn past(step: u16, id: &str, result: &str) -> PastCall {
    PastCall {
        step,
        id: id.to_owned(),
        name: "add_task".to_owned(),
        arguments: json!({"title": "milk"}),
        result: result.to_owned(),
    }
}

pub(crate) fn turn(user: &str, calls: Vec<PastCall>, reply: Option<&str>, outcome: TurnOutcome) -> Turn {
    Turn {
        user: user.to_owned(),
        calls,
        reply: reply.map(str::to_owned),
        outcome,
    }
}

pub(crate) fn user(content: &str) -> Message {
    Message::User {
        content: content.to_owned(),
    }
}

pub(crate) fn says(content: &str) -> Message {
    Message::Assistant {
        content: content.to_owned(),
        tool_calls: Vec::new(),
    }
}

pub(crate) fn calls(content: &str, ids: &[&str]) -> Message {
    let tool_calls = ids
        .iter()
        .map(|id| ToolCall {
            id: (*id).to_owned(),
            name: "add_task".to_owned(),
            arguments: r#"{"title":"milk"}"#.to_owned(),
        })
        .collect();
    Message::Assistant {
        content: content.to_owned(),
        tool_calls,
    }
}

pub(crate) fn tool(id: &str, content: &str) -> Message {
    Message::Tool {
        tool_call_id: id.to_owned(),
        content: content.to_owned(),
    }
}
