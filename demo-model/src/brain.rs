//! The demo brain: what to say or call next, from the transcript and nothing else.

use serde_json::{Value, json};

use crate::wire::ChatRequest;

/// A tool to call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// The arguments, an object.
    pub arguments: Value,
}

/// What the brain does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A text, which ends the turn.
    Say(String),
    /// Tools to call; their results come back in the next request.
    Call(Vec<Call>),
}

/// What to do next.
pub fn answer(request: &ChatRequest) -> Answer {
    let results: Vec<Value> = request
        .messages
        .iter()
        .rev()
        .take_while(|message| message.role == "tool")
        .filter_map(|message| serde_json::from_str(&message.text()).ok())
        .collect();
    if !results.is_empty() {
        let lines: Vec<String> = results.iter().rev().map(describe).collect();
        return Answer::Say(lines.join("\n"));
    }
    let said = request.last_user_text().unwrap_or_default();
    let lower = said.to_lowercase();
    let number = lower
        .split(|c: char| !c.is_ascii_digit())
        .find_map(|part| part.parse::<i64>().ok());
    let call = |name: &str, arguments: Value| {
        Answer::Call(vec![Call {
            name: name.to_owned(),
            arguments,
        }])
    };
    for prefix in ["add a task to ", "add task ", "add ", "remind me to "] {
        if lower.starts_with(prefix) {
            let title = said.get(prefix.len()..).unwrap_or_default();
            return call("add_task", json!({"title": title}));
        }
    }
    match number {
        Some(id) if lower.contains("done") || lower.contains("complete") => {
            call("complete_task", json!({"task_id": id}))
        }
        _ if lower.contains("show") || lower.contains("list") => call("list_tasks", json!({})),
        _ => Answer::Say("I can add, show, complete, change and delete tasks.".to_owned()),
    }
}

fn describe(result: &Value) -> String {
    let task = |task: &Value| {
        let mark = if task["completed"] == true { 'x' } else { ' ' };
        format!(
            "{}. [{mark}] {}",
            task["id"],
            task["title"].as_str().unwrap_or_default()
        )
    };
    match (&result["task"], &result["tasks"]) {
        (Value::Object(_), _) => format!("Done: {}", task(&result["task"])),
        (_, Value::Array(tasks)) => tasks.iter().map(task).collect::<Vec<_>>().join("\n"),
        _ => result["message"].as_str().unwrap_or("Done.").to_owned(),
    }
}
