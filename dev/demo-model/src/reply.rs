//! Describes tool results to the user. Claims nothing that isn't in the result.

pub(crate) mod small_talk;

use serde_json::Value;

use crate::dialogue::{
    ExecutedCall, KnownTask,
    question::{list_line, one_line, quoted},
};

/// Maximum length of a description in a list, in characters.
const MAX_DESCRIPTION: usize = 120;

/// Describes the result of a call.
pub(crate) fn describe_result(done: &ExecutedCall) -> String {
    let Some(result) = &done.result else {
        return format!(
            "I can't read the result of the tool {}, so I don't know what happened.",
            done.name
        );
    };
    if result.get("success") == Some(&Value::Bool(false)) {
        return failed(done, result);
    }
    let message = || match result.get("message").and_then(Value::as_str) {
        Some(message) if done.succeeded() => message.to_owned(),
        Some(message) => format!("The tool {} returned: {message}", done.name),
        None => format!(
            "I can't read the result of the tool {}, so I don't know what happened.",
            done.name
        ),
    };
    if done.name == "list_tasks" && result.get("tasks").is_some_and(Value::is_array) {
        return list(done);
    }
    match done.task() {
        Some(task) if done.succeeded() => changed(done, &task).unwrap_or_else(message),
        _ => message(),
    }
}

/// Describes a successful change.
fn changed(done: &ExecutedCall, task: &KnownTask) -> Option<String> {
    let title = quoted(task.title.as_deref()?);
    let id = task.id;
    Some(match done.name.as_str() {
        "add_task" => match &task.description {
            Some(description) => format!(
                "Added task {id}: {title}.\n   Description: {}",
                shortened(description)
            ),
            None => format!("Added task {id}: {title}."),
        },
        "complete_task" if task.completed == Some(true) => format!("Completed task {id}: {title}."),
        "complete_task" => format!("Reopened task {id}: {title}."),
        "update_task" if done.arguments.get("title").is_some() => format!("Renamed task {id} to {title}."),
        "update_task" => match &task.description {
            Some(description) => format!(
                "Set the description of task {id} ({title}) to: {}",
                one_line(description)
            ),
            None => format!("Cleared the description of task {id} ({title})."),
        },
        "delete_task" => format!("Deleted task {id}: {title}."),
        _ => return None,
    })
}

/// Describes a failed call.
fn failed(done: &ExecutedCall, result: &Value) -> String {
    let error = result.get("error").and_then(Value::as_str).unwrap_or_default();
    let message = result.get("message").and_then(Value::as_str).unwrap_or(error);
    let id = done.arguments.get("task_id").and_then(Value::as_i64);
    match (id, error.starts_with("TASK_NOT_FOUND")) {
        (Some(id), true) => format!("I couldn't find task {id}."),
        _ => format!("I couldn't {}: {}", attempt(done), one_line(message)),
    }
}

/// Describes what a failed call should have done.
fn attempt(done: &ExecutedCall) -> String {
    let id = done.arguments.get("task_id").and_then(Value::as_i64);
    let task = id.map_or_else(|| "the task".to_owned(), |id| format!("task {id}"));
    match done.name.as_str() {
        "add_task" => match done.arguments.get("title").and_then(Value::as_str) {
            Some(title) => format!("add {}", quoted(title)),
            None => "add the task".to_owned(),
        },
        "list_tasks" => "look up your tasks".to_owned(),
        "complete_task" => format!("update {task}"),
        "update_task" => format!("change {task}"),
        "delete_task" => format!("delete {task}"),
        other => format!("use the tool {other}"),
    }
}

/// Formats a list of tasks.
fn list(done: &ExecutedCall) -> String {
    let tasks = done.tasks();
    let kind = match done.arguments.get("completed").and_then(Value::as_bool) {
        Some(true) => "completed ",
        Some(false) => "pending ",
        None => "",
    };
    let search = done.arguments.get("search").and_then(Value::as_str);
    let offset = done
        .arguments
        .get("offset")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let shown = i64::try_from(tasks.len()).unwrap_or(i64::MAX);
    let total = done.total().max(shown);
    if tasks.is_empty() {
        return match (search, offset > 0 || total > 0) {
            (_, true) => "There are no more tasks.".to_owned(),
            (Some(search), _) => format!("No {kind}tasks match {}.", quoted(search)),
            (None, _) => format!("You have no {kind}tasks."),
        };
    }
    let noun = if total == 1 { "task" } else { "tasks" };
    let heading = match search {
        Some(search) => {
            let matches = if total == 1 { "matches" } else { "match" };
            format!("{total} {kind}{noun} {matches} {}:", quoted(search))
        }
        None => format!("You have {total} {kind}{noun}:"),
    };
    let mut lines = vec![heading];
    for task in &tasks {
        lines.push(list_line(task));
        lines.extend(
            task.description
                .as_deref()
                .map(|text| format!("   {}", shortened(text))),
        );
    }
    if offset + shown < total {
        lines.push(format!(
            "Showing {} to {} of {total}. Say \"show more\" for the next page.",
            offset + 1,
            offset + shown
        ));
    }
    lines.join("\n")
}

/// Formats a single task with its description.
pub(crate) fn task_details(task: &KnownTask) -> String {
    let description = match &task.description {
        Some(description) => format!("   Description: {}", one_line(description)),
        None => "   No description".to_owned(),
    };
    format!("{}\n{description}", list_line(task))
}

fn shortened(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(MAX_DESCRIPTION) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}
