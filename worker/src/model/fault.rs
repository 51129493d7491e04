//! What can go wrong between the worker and the model's server.

use std::time::Duration;

use crate::metrics::Fault;

/// A fault of the model's server or of the way to it. Its text is for an operator's log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelFault {
    /// No connection, or one that broke before the answer was whole.
    #[error("connection: {0}")]
    Connection(String),
    /// It answered with an error.
    #[error("status {code}: {message}")]
    Status {
        /// The HTTP status.
        code: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// Whether asking again can't help: the account's quota is used up.
        quota: bool,
        /// What it said, cut to a line.
        message: String,
    },
    /// It did not answer in time.
    #[error("time-out")]
    TimedOut,
    /// The run's time was over before it answered.
    #[error("the run's deadline passed")]
    RunDeadline,
    /// What it said is not Chat Completions.
    #[error("not a valid answer: {0}")]
    Malformed(String),
    /// Its answer is larger than any that we take.
    #[error("the answer is too large")]
    TooLarge,
}

impl ModelFault {
    /// As metrics count it.
    pub(crate) const fn kind(&self) -> Fault {
        match self {
            Self::Connection(_) => Fault::Connection,
            Self::Status { quota: true, .. } => Fault::Quota,
            Self::Status { code: 429, .. } => Fault::RateLimited,
            Self::Status { code: 500.., .. } => Fault::ServerError,
            Self::Status { .. } => Fault::ClientError,
            Self::TimedOut => Fault::Timeout,
            Self::RunDeadline => Fault::RunDeadline,
            Self::Malformed(_) => Fault::Malformed,
            Self::TooLarge => Fault::TooLarge,
        }
    }

    /// Whether asking again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connection(_) | Self::TimedOut => true,
            Self::Status { code, quota, .. } => !quota && (matches!(code, 408 | 429) || *code >= 500),
            Self::RunDeadline | Self::Malformed(_) | Self::TooLarge => false,
        }
    }

    /// How long the server wants to be left alone.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What the user is told, without anything that the provider said.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Connection(_) => "the model provider could not be reached".to_owned(),
            Self::Status { quota: true, .. } => "the model provider's quota is used up".to_owned(),
            Self::Status { code: 429, .. } => "the model provider is overloaded".to_owned(),
            Self::Status { code, .. } => format!("the model provider answered with status {code}"),
            Self::TimedOut => "the model provider did not answer in time".to_owned(),
            Self::RunDeadline => "the run took too long".to_owned(),
            Self::Malformed(_) => "the model provider's answer could not be read".to_owned(),
            Self::TooLarge => "the model provider's answer was too large".to_owned(),
        }
    }
}

impl From<reqwest::Error> for ModelFault {
    fn from(error: reqwest::Error) -> Self {
        Self::Connection(line(&chain(&error)))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The first 300 characters, on one line and without U+0000, which Postgres can't store.
pub(super) fn line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(300)
        .collect()
}
