//! Why an attempt of a run ended without an end, and what becomes of the run then.

use std::time::Duration;

use errand_agent::AgentFailure;
use errand_shared::storage;

use crate::{metrics::Failure, model::ModelFault};

/// Why an attempt stopped short of a reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunFailure {
    /// The model's server failed, after tries.
    #[error("model: {0}")]
    Model(#[from] ModelFault),
    /// The loop ran into a bound or into an answer that is none.
    #[error("agent: {0}")]
    Agent(AgentFailure),
    /// Postgres failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// This worker does not know the agent that the conversation has chosen.
    #[error("this worker has no such agent")]
    NoSuchAgent,
    /// The code panicked.
    #[error("panicked")]
    Panicked,
    /// The worker's grace time is over.
    #[error("the worker stops")]
    Stopping,
    /// The run's user has asked for an end.
    #[error("cancelled")]
    Cancelled,
    /// The lease is somebody else's.
    #[error("the lease is lost")]
    LeaseLost,
}

/// What becomes of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Queue it again after a delay; the attempt counts as failed.
    Retry(Duration),
    /// Queue it again at once, at no cost.
    Release,
    /// End it, with this reason for its user.
    Fail(String),
    /// End it as cancelled.
    Cancel,
    /// Leave it: it is somebody else's.
    Drop,
}

impl RunFailure {
    /// As metrics count it.
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

    /// What becomes of a run that failed like this, `failures` times before, of `max_failures`.
    pub(crate) fn disposition(&self, failures: i32, max_failures: i32) -> Disposition {
        match self {
            // The call was tried again already, within the run's deadline.
            Self::Model(fault) => Disposition::Fail(fault.reason()),
            Self::Agent(failure) => Disposition::Fail(failure.to_string()),
            Self::Database(error) if storage::is_outage(error) => Disposition::Release,
            // Another worker may have read a newer file.
            Self::Database(_) | Self::Panicked | Self::NoSuchAgent if failures + 1 < max_failures => {
                Disposition::Retry(Duration::from_secs(1 << failures.clamp(0, 6)))
            }
            Self::NoSuchAgent => {
                Disposition::Fail("the agent of this conversation is not there any more".to_owned())
            }
            Self::Database(_) | Self::Panicked => {
                Disposition::Fail("an internal error, several times over".to_owned())
            }
            Self::Stopping => Disposition::Release,
            Self::Cancelled => Disposition::Cancel,
            Self::LeaseLost => Disposition::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_end() {
        let cases = [
            (RunFailure::Model(ModelFault::TimedOut), 0, "Fail"),
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
