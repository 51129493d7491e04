//! The specifications of the tools, for models and MCP clients. No tool has an argument for the user.

use std::sync::LazyLock;

use serde_json::Value;

use crate::schema;

/// Name of the tool that adds a task.
pub const ADD: &str = "add_task";
pub(crate) const LIST: &str = "list_tasks";
pub(crate) const COMPLETE: &str = "complete_task";
pub(crate) const UPDATE: &str = "update_task";
pub(crate) const DELETE: &str = "delete_task";

/// A tool as models and MCP clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Name of the tool.
    pub name: &'static str,
    /// Display name.
    pub title: &'static str,
    /// What the tool does and when to use it, for the model.
    pub description: &'static str,
    /// JSON Schema of the arguments.
    pub parameters: Value,
    /// JSON Schema of the result, successful or failed.
    pub output: Value,
    /// Behaviour hints.
    pub annotations: Annotations,
}

/// Behaviour hints, as defined by MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// The tool changes nothing.
    pub read_only: bool,
    /// The tool may delete or overwrite data.
    pub destructive: bool,
    /// Repeating a call with the same arguments has no further effect.
    pub idempotent: bool,
}

static SPECS: LazyLock<Vec<ToolSpec>> = LazyLock::new(|| {
    vec![
        ToolSpec {
            name: ADD,
            title: "Add task",
            description: "Add one task to the user's to-do list. Call it once for each task.",
            parameters: schema::add_parameters(),
            output: schema::task_result(),
            annotations: Annotations {
                read_only: false,
                destructive: false,
                idempotent: false,
            },
        },
        ToolSpec {
            name: LIST,
            title: "List tasks",
            description: "List the user's tasks in the order of their numbers: all of them, or those that match. Also \
                          use it to find the number of a task that the user refers to by its words.",
            parameters: schema::list_parameters(),
            output: schema::task_list_result(),
            annotations: Annotations {
                read_only: true,
                destructive: false,
                idempotent: true,
            },
        },
        ToolSpec {
            name: COMPLETE,
            title: "Complete task",
            description: "Mark a task as completed or, with completed = false, as open.",
            parameters: schema::complete_parameters(),
            output: schema::task_result(),
            annotations: Annotations {
                read_only: false,
                destructive: false,
                idempotent: true,
            },
        },
        ToolSpec {
            name: UPDATE,
            title: "Update task",
            description: "Change the title or the description of a task, or both. Omitted members stay unchanged.",
            parameters: schema::update_parameters(),
            output: schema::task_result(),
            annotations: Annotations {
                read_only: false,
                destructive: true,
                idempotent: true,
            },
        },
        ToolSpec {
            name: DELETE,
            title: "Delete task",
            description: "Delete a task permanently. Call it only after the user has confirmed the deletion of this task.",
            parameters: schema::delete_parameters(),
            output: schema::deleted_task_result(),
            annotations: Annotations {
                read_only: false,
                destructive: true,
                idempotent: true,
            },
        },
    ]
});

/// The five tools, in a fixed order.
pub fn specs() -> &'static [ToolSpec] {
    &SPECS
}

/// Finds a tool by name.
pub fn find(name: &str) -> Option<&'static ToolSpec> {
    specs().iter().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_tool_has_a_user_argument() {
        for spec in specs() {
            assert!(!spec.parameters.to_string().contains("user_id"), "{}", spec.name);
            assert!(!spec.output.to_string().contains("user_id"), "{}", spec.name);
        }
    }

    #[test]
    fn schemas_are_closed_objects_with_defined_members() {
        for spec in specs() {
            assert_eq!(spec.parameters["type"], json!("object"), "{}", spec.name);
            assert_eq!(
                spec.parameters["additionalProperties"],
                json!(false),
                "{}",
                spec.name
            );
            assert_eq!(spec.output["type"], json!("object"), "{}", spec.name);
            for schema in [&spec.parameters, &spec.output] {
                for member in schema["required"].as_array().into_iter().flatten() {
                    assert!(
                        schema["properties"].get(member.as_str().unwrap()).is_some(),
                        "{} {member}",
                        spec.name
                    );
                }
            }
        }
    }

    #[test]
    fn tools_and_annotations_are_as_documented() {
        let got: Vec<_> = specs()
            .iter()
            .map(|spec| {
                let Annotations {
                    read_only,
                    destructive,
                    idempotent,
                } = spec.annotations;
                (spec.name, read_only, destructive, idempotent)
            })
            .collect();
        assert_eq!(
            got,
            [
                ("add_task", false, false, false),
                ("list_tasks", true, false, true),
                ("complete_task", false, false, true),
                ("update_task", false, true, true),
                ("delete_task", false, true, true),
            ]
        );
        assert_eq!(find("list_tasks").map(|spec| spec.title), Some("List tasks"));
        assert_eq!(find("drop_tables"), None);
    }
}
