//! JSON Schemas of arguments and results, with the limits from [`rules`].

use serde_json::{Value, json};

use crate::rules;

fn parameters(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn title(description: &str) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": rules::TITLE_MAX_CHARS, "description": description})
}

fn description(description: &str) -> Value {
    json!({"type": "string", "maxLength": rules::DESCRIPTION_MAX_CHARS, "description": description})
}

fn task_id() -> Value {
    json!({"type": "integer", "minimum": 1, "description": "The task's number, as returned by list_tasks."})
}

pub(crate) fn add_parameters() -> Value {
    parameters(
        &json!({
            "title": title("What to do, in the user's own words and language."),
            "description": description("Details, if the user gave any."),
        }),
        &["title"],
    )
}

pub(crate) fn list_parameters() -> Value {
    parameters(
        &json!({
            "completed": {
                "type": "boolean",
                "description": "true: only completed tasks; false: only open tasks. Omit for all tasks."
            },
            "search": {
                "type": "string", "maxLength": rules::SEARCH_MAX_CHARS,
                "description": "Only tasks with this text in the title or description. Case-insensitive."
            },
            "limit": {
                "type": "integer", "minimum": rules::LIMIT.start(), "maximum": rules::LIMIT.end(),
                "default": rules::LIMIT_DEFAULT, "description": "Maximum number of tasks."
            },
            "offset": {
                "type": "integer", "minimum": 0, "default": 0, "description": "Number of tasks to skip."
            },
        }),
        &[],
    )
}

pub(crate) fn complete_parameters() -> Value {
    parameters(
        &json!({
            "task_id": task_id(),
            "completed": {
                "type": "boolean", "default": true, "description": "false reopens a completed task."
            },
        }),
        &["task_id"],
    )
}

pub(crate) fn update_parameters() -> Value {
    parameters(
        &json!({
            "task_id": task_id(),
            "title": title("The new title."),
            "description": description("The new description. An empty text clears it."),
        }),
        &["task_id"],
    )
}

pub(crate) fn delete_parameters() -> Value {
    parameters(&json!({"task_id": task_id()}), &["task_id"])
}

fn task() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "title": {"type": "string"},
            // Not a list of types, which some model servers don't support.
            "description": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "completed": {"type": "boolean"},
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {"type": "string", "format": "date-time"},
        },
        "required": ["id", "title", "description", "completed", "created_at", "updated_at"],
    })
}

/// The schema of a result that contains either `member` or `error`.
fn result(member: &str, members: Value) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": {"success": {"type": "boolean"}},
        "required": ["success", "message"],
        "oneOf": [{"required": [member]}, {"required": ["error"]}],
    });
    let always = json!({
        "error": {"type": "string", "description": "An error code, a colon and a description. Only if success is false."},
        "message": {"type": "string", "description": "What happened, as a sentence for people."},
    });
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for part in [members, always] {
            if let Value::Object(part) = part {
                properties.extend(part);
            }
        }
    }
    schema
}

pub(crate) fn task_result() -> Value {
    result("task", json!({"task": task()}))
}

pub(crate) fn task_list_result() -> Value {
    result(
        "tasks",
        json!({
            "tasks": {"type": "array", "items": task()},
            "total": {"type": "integer", "minimum": 0, "description": "Number of matching tasks on all pages."},
        }),
    )
}

pub(crate) fn deleted_task_result() -> Value {
    result(
        "deleted_task",
        json!({
            "deleted_task": {
                "type": "object",
                "properties": {"id": {"type": "integer"}, "title": {"type": "string"}},
                "required": ["id", "title"],
            },
        }),
    )
}
