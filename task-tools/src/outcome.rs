//! The outcome of a call, as the model and the user see it.

use errand_shared::storage::tasks::Task;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The outcome of a call, successful or failed.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOutcome {
    /// The `success` member of the result.
    pub success: bool,
    /// The result: an object whose first member is `success`. It contains a `message` for people.
    pub result: Value,
}

/// The result of `add_task`, `complete_task` and `update_task`.
#[derive(Serialize)]
pub(crate) struct TaskResult {
    pub(crate) success: bool,
    pub(crate) task: Task,
    pub(crate) message: String,
}

/// The result of `list_tasks`.
#[derive(Serialize)]
pub(crate) struct TaskListResult {
    pub(crate) success: bool,
    pub(crate) tasks: Vec<Task>,
    pub(crate) total: i64,
    pub(crate) message: String,
}

/// The result of `delete_task`.
#[derive(Serialize)]
pub(crate) struct DeletedTaskResult {
    pub(crate) success: bool,
    pub(crate) deleted_task: DeletedTask,
    pub(crate) message: String,
}

#[derive(Serialize)]
pub(crate) struct DeletedTask {
    pub(crate) id: i64,
    pub(crate) title: String,
}

impl ToolOutcome {
    /// The outcome of a successful call.
    ///
    /// # Errors
    /// If the result can't be serialized. It is a database error, so that the caller rolls back.
    pub(crate) fn success(result: &impl Serialize) -> Result<Self, sqlx::Error> {
        let result = serde_json::to_value(result).map_err(|error| sqlx::Error::Encode(error.into()))?;
        Ok(Self {
            success: true,
            result,
        })
    }

    /// The outcome of a failed call.
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

/// The outcome of a call that was rolled back because of an error. It reveals no details.
pub fn internal_error() -> ToolOutcome {
    ToolOutcome::failure(&Failure::Internal)
}

/// The outcome of a call that the user declined.
pub fn declined() -> ToolOutcome {
    ToolOutcome::failure(&Failure::Declined)
}

/// The outcome of a call that the user did not approve in time.
pub fn approval_expired() -> ToolOutcome {
    ToolOutcome::failure(&Failure::ApprovalExpired)
}

/// The outcome of a call if the connection was lost during the commit.
pub fn outcome_unknown() -> ToolOutcome {
    ToolOutcome::failure(&Failure::OutcomeUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_error_has_the_usual_form() {
        let outcome = internal_error();
        assert!(!outcome.success);
        let text = outcome.result.to_string();
        assert!(
            text.starts_with(r#"{"success":false,"error":"INTERNAL_ERROR: The tool failed"#),
            "{text}"
        );
    }
}
