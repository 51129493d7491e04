//! Why an attempt failed, and what happens to its run then: retry, release or end.

use std::time::Duration;

use errand_agent::AgentFailure;
use errand_shared::storage;

use crate::{metrics::Failure, model::ModelError, queue::run_registry::Interrupt};

/// Why an attempt ended without a reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunFailure {
    /// The model call failed, retries included.
    #[error("model: {0}")]
    Model(#[from] ModelError),
    /// The tool loop reached a limit, or the model gave an unusable answer.
    #[error("agent: {0}")]
    Agent(AgentFailure),
    /// A database error.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The agents file of this worker does not contain the conversation's agent.
    #[error("this worker has no such agent")]
    NoSuchAgent,
    #[error("panicked")]
    Panicked,
    /// The grace period of the shutdown is over.
    #[error("the worker is shutting down")]
    Stopping,
    /// The user has cancelled the run.
    #[error("cancelled")]
    Cancelled,
    /// Another worker has claimed the run.
    #[error("the lease is lost")]
    LeaseLost,
}

/// What happens to the run of a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Queue it again after a delay. The failure counts towards the maximum number of attempts.
    Retry(Duration),
    /// Queue it again immediately. The failure does not count.
    Release,
    /// Finish it as failed, with this reason for the user.
    Fail(String),
    /// Finish it as cancelled.
    Cancel,
    /// Leave it to the worker that has the lease.
    Drop,
}

impl RunFailure {
    pub(crate) const fn kind(&self) -> Failure {
        match self {
            Self::Model(_) => Failure::Model,
            Self::Agent(_) | Self::NoSuchAgent => Failure::Agent,
            Self::Database(_) => Failure::Database,
            Self::Panicked => Failure::Panic,
            Self::Stopping => Failure::Stopping,
            Self::Cancelled => Failure::Cancelled,
            Self::LeaseLost => Failure::LeaseLost,
        }
    }

    /// What happens to a run that has failed `failures` times before and may fail `max_failures` times.
    pub(crate) fn disposition(&self, failures: i32, max_failures: i32) -> Disposition {
        match self {
            // The model client has retried already, within the run's deadline.
            Self::Model(error) => Disposition::Fail(error.reason()),
            Self::Agent(failure) => Disposition::Fail(failure.to_string()),
            Self::Database(error) if storage::is_outage(error) => Disposition::Release,
            // Another worker may have a newer agents file.
            Self::Database(_) | Self::Panicked | Self::NoSuchAgent if failures + 1 < max_failures => {
                Disposition::Retry(Duration::from_secs(1 << failures.clamp(0, 6)))
            }
            Self::NoSuchAgent => {
                Disposition::Fail("the agent of this conversation no longer exists".to_owned())
            }
            Self::Database(_) | Self::Panicked => Disposition::Fail("repeated internal errors".to_owned()),
            Self::Stopping => Disposition::Release,
            Self::Cancelled => Disposition::Cancel,
            Self::LeaseLost => Disposition::Drop,
        }
    }
}

impl From<Interrupt> for RunFailure {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Cancelled => Self::Cancelled,
            Interrupt::Stopping => Self::Stopping,
            Interrupt::LeaseLost | Interrupt::None => Self::LeaseLost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_retried_released_or_final() {
        let cases = [
            (RunFailure::Model(ModelError::TimedOut), 0, "Fail"),
            (RunFailure::Agent(AgentFailure::ToolLoopLimit), 0, "Fail"),
            (RunFailure::Database(sqlx::Error::PoolTimedOut), 9, "Release"),
            (RunFailure::Database(sqlx::Error::RowNotFound), 0, "Retry(1s)"),
            (RunFailure::Database(sqlx::Error::RowNotFound), 1, "Retry(2s)"),
            (RunFailure::Database(sqlx::Error::RowNotFound), 2, "Fail"),
            (RunFailure::Panicked, 0, "Retry(1s)"),
            (RunFailure::Panicked, 2, "Fail"),
            (RunFailure::NoSuchAgent, 0, "Retry(1s)"),
            (RunFailure::NoSuchAgent, 2, "Fail"),
            (RunFailure::Stopping, 9, "Release"),
            (RunFailure::Cancelled, 0, "Cancel"),
            (RunFailure::LeaseLost, 0, "Drop"),
        ];
        for (failure, failures, expected) in cases {
            let disposition = format!("{:?}", failure.disposition(failures, 3));
            assert!(
                disposition.starts_with(expected),
                "{failure} after {failures}: {disposition}"
            );
        }
    }
}
