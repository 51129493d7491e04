//! How a call can fail so that the model can do something about it.

use thiserror::Error;

use crate::rules::Violation;

/// An expected failure; its text is for the model and for the user.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    /// The user has no such task.
    #[error("There is no task {0}.")]
    TaskNotFound(i64),
    /// An argument breaks a rule.
    #[error("The argument {0}.")]
    Argument(#[from] Violation),
    /// The arguments together ask for nothing.
    #[error("Nothing to change: give a title, a description or both.")]
    NothingToChange,
    /// No tool has that name.
    #[error("There is no tool {name:?}; the tools are {known}.")]
    UnknownTool {
        /// The name as it was given, shortened.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The user has said no.
    #[error("The user declined this call; nothing was done.")]
    Declined,
    /// The user has said nothing in time.
    #[error("The user did not approve this call in time; nothing was done.")]
    ApprovalExpired,
    /// A fault of ours, of which nothing is told.
    #[error("The tool failed for a reason of its own and changed nothing; it may work if it is tried again.")]
    Internal,
    /// The caller's commit was cut off.
    #[error(
        "Whether this took effect is unknown, because the database went away meanwhile; look before trying again."
    )]
    OutcomeUnknown,
}

impl Failure {
    /// The word that programs go by.
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

/// Why a call did not come to its end: an answer for the model, or a fault for the caller.
#[derive(Debug, Error)]
pub(crate) enum Stop {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error(transparent)]
    Fault(#[from] sqlx::Error),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Failed(violation.into())
    }
}
