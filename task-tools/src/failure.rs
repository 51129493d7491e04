//! The failures of tool calls that the model can react to.

use thiserror::Error;

use crate::rules::Violation;

/// An expected failure. The text is for the model and the user.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    #[error("There is no task {0}.")]
    TaskNotFound(i64),
    #[error("The argument {0}.")]
    Argument(#[from] Violation),
    #[error("Nothing to change: give a title, a description or both.")]
    NothingToChange,
    #[error("There is no tool {name:?}; the available tools are {known}.")]
    UnknownTool {
        /// The requested name, shortened.
        name: String,
        /// The available tools, separated by commas.
        known: String,
    },
    #[error("The user declined this call; nothing was done.")]
    Declined,
    #[error("The user did not approve this call in time; nothing was done.")]
    ApprovalExpired,
    /// A bug or a failure of Postgres. The text reveals no details.
    #[error("The tool failed because of an internal error and changed nothing; trying again may help.")]
    Internal,
    /// The connection was lost during the caller's commit.
    #[error(
        "It is unknown whether this took effect, because the connection to the database was lost; check before trying again."
    )]
    OutcomeUnknown,
}

impl Failure {
    /// The error code for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::TaskNotFound(_) => "TASK_NOT_FOUND",
            Self::Argument(_) | Self::NothingToChange => "VALIDATION_ERROR",
            Self::UnknownTool { .. } => "UNKNOWN_TOOL",
            Self::Declined => "DECLINED",
            Self::ApprovalExpired => "APPROVAL_EXPIRED",
            Self::Internal | Self::OutcomeUnknown => "INTERNAL_ERROR",
        }
    }
}

/// An error of a call: a failure that is answered to the model, or a database error for the caller.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Violation> for CallError {
    fn from(violation: Violation) -> Self {
        Self::Failed(violation.into())
    }
}
