//! What the tools are, for models and for MCP clients. The user is no argument: the server knows who asks.

use std::sync::LazyLock;

use serde_json::Value;

use crate::schema;

/// The tool that adds a task.
pub const ADD: &str = "add_task";
pub(crate) const LIST: &str = "list_tasks";
pub(crate) const COMPLETE: &str = "complete_task";
pub(crate) const UPDATE: &str = "update_task";
pub(crate) const DELETE: &str = "delete_task";

/// One tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// The name to call it by.
    pub name: &'static str,
    /// The name to show to people.
    pub title: &'static str,
    /// What it does and when to use it, for the model.
    pub description: &'static str,
    /// JSON Schema of the arguments.
    pub parameters: Value,
    /// JSON Schema of the result, be it a success or a failure.
    pub output: Value,
    /// How it behaves.
    pub annotations: Annotations,
}

/// How a tool behaves, in the words of MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// It changes nothing.
    pub read_only: bool,
    /// It may take away or overwrite what was there.
    pub destructive: bool,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent: bool,
}

static SPECS: LazyLock<Vec<ToolSpec>> = LazyLock::new(|| {
    vec![
        ToolSpec {
            name: ADD,
            title: "Add task",
            description: "Add one task to the user's to-do list. Call it once for each task.",
            parameters: schema::add_parameters(),
            output: schema::one_task(),
            annotations: Annotations {
                read_only: false,
                destructive: false,
                idempotent: false,
            },
        },
        ToolSpec {
            name: LIST,
            title: "List tasks",
            description: "List the user's tasks in the order of their numbers, all of them or only those that match. \
                          Also use it to find the number of a task that the user names by its words.",
            parameters: schema::list_parameters(),
            output: schema::many_tasks(),
            annotations: Annotations {
                read_only: true,
                destructive: false,
                idempotent: true,
            },
        },
        ToolSpec {
            name: COMPLETE,
            title: "Complete task",
            description: "Mark a task as completed, or with completed = false as open again.",
            parameters: schema::complete_parameters(),
            output: schema::one_task(),
            annotations: Annotations {
                read_only: false,
                destructive: false,
                idempotent: true,
            },
        },
        ToolSpec {
            name: UPDATE,
            title: "Update task",
            description: "Change the title or the description of a task, or both. What is not given stays as it is.",
            parameters: schema::update_parameters(),
            output: schema::one_task(),
            annotations: Annotations {
                read_only: false,
                destructive: true,
                idempotent: true,
            },
        },
        ToolSpec {
            name: DELETE,
            title: "Delete task",
            description: "Delete a task for good. Only after the user has confirmed that this task is to be deleted.",
            parameters: schema::delete_parameters(),
            output: schema::gone(),
            annotations: Annotations {
                read_only: false,
                destructive: true,
                idempotent: true,
            },
        },
    ]
});

/// The five tools, always in the same order.
pub fn specs() -> &'static [ToolSpec] {
    &SPECS
}

/// The tool of that name.
pub fn find(name: &str) -> Option<&'static ToolSpec> {
    specs().iter().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_tool_asks_the_model_for_the_user() {
        for spec in specs() {
            assert!(!spec.parameters.to_string().contains("user_id"), "{}", spec.name);
            assert!(!spec.output.to_string().contains("user_id"), "{}", spec.name);
        }
    }

    #[test]
    fn every_schema_is_a_closed_object_whose_required_members_exist() {
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
    fn the_tools_are_the_five_and_say_how_they_behave() {
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
