//! What comes of a call, as the model and the user see it.

use errand_shared::storage::tasks::Task;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// What a call came to. A failed one is an answer too.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOutcome {
    /// The `success` of the result.
    pub success: bool,
    /// The result: an object that begins with `success` and holds a `message` for a person.
    pub result: Value,
}

/// Of `add_task`, `complete_task` and `update_task`.
#[derive(Serialize)]
pub(crate) struct OneTask {
    pub(crate) success: bool,
    pub(crate) task: Task,
    pub(crate) message: String,
}

/// Of `list_tasks`.
#[derive(Serialize)]
pub(crate) struct ManyTasks {
    pub(crate) success: bool,
    pub(crate) tasks: Vec<Task>,
    pub(crate) total: i64,
    pub(crate) message: String,
}

/// Of `delete_task`.
#[derive(Serialize)]
pub(crate) struct Gone {
    pub(crate) success: bool,
    pub(crate) deleted_task: GoneTask,
    pub(crate) message: String,
}

/// What is left of a deleted task.
#[derive(Serialize)]
pub(crate) struct GoneTask {
    pub(crate) id: i64,
    pub(crate) title: String,
}

impl ToolOutcome {
    /// The result of a call that did what it was to do.
    ///
    /// # Errors
    /// If the result cannot be written as JSON: a fault, so that the caller undoes the effect.
    pub(crate) fn success(result: &impl Serialize) -> Result<Self, sqlx::Error> {
        let result = serde_json::to_value(result).map_err(|error| sqlx::Error::Encode(error.into()))?;
        Ok(Self {
            success: true,
            result,
        })
    }

    /// The result of a call that failed in an expected way.
    pub(crate) fn failure(failure: &Failure) -> Self {
        let message = failure.to_string();
        let result = Map::from_iter([
            ("success".to_owned(), Value::Bool(false)),
            (
                "error".to_owned(),
                Value::String(format!("{}: {message}", failure.code())),
            ),
            ("message".to_owned(), Value::String(message)),
        ]);
        Self {
            success: false,
            result: Value::Object(result),
        }
    }
}

/// The outcome of a call that was undone because of a fault. It tells nothing of the fault.
pub fn internal_error() -> ToolOutcome {
    ToolOutcome::failure(&Failure::Internal)
}

/// The outcome of a call that its user did not want made.
pub fn declined() -> ToolOutcome {
    ToolOutcome::failure(&Failure::Declined)
}

/// The outcome of a call about which its user said nothing in time.
pub fn approval_expired() -> ToolOutcome {
    ToolOutcome::failure(&Failure::ApprovalExpired)
}

/// The outcome of a call whose commit was cut off.
pub fn outcome_unknown() -> ToolOutcome {
    ToolOutcome::failure(&Failure::OutcomeUnknown)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn an_internal_error_is_an_outcome_like_others() {
        let outcome = internal_error();
        assert!(!outcome.success);
        let text = outcome.result.to_string();
        assert!(
            text.starts_with(r#"{"success":false,"error":"INTERNAL_ERROR: The tool failed"#),
            "{text}"
        );
    }
}
