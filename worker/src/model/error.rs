//! Errors of model requests: their kinds, whether to retry, and the sentence for the user.

mod provider;
mod retry_after;

pub(super) use provider::ProviderError;

use std::time::Duration;

use errand_shared::service::telemetry::error_chain;

errand_shared::label_values! {
    /// The kind of a model error. Metrics, retries and the sentence for the user depend on it.
    pub(crate) enum ErrorKind: "kind" {
        /// No connection, or one that broke before the answer was complete.
        Connection = "connection",
        Timeout = "timeout",
        RateLimited = "rate_limited",
        /// The account has no credit left.
        Quota = "quota",
        /// An error of the provider that may pass.
        ServerError = "server_error",
        /// The provider's filter rejected the request.
        ContentFilter = "content_filter",
        /// The conversation exceeds the model's context window.
        ContextTooLong = "context_too_long",
        /// Any other error that a retry cannot resolve.
        BadRequest = "bad_request",
        Authentication = "authentication",
        UnknownModel = "unknown_model",
        /// The model wrote a tool call that the provider could not parse.
        UnreadableToolCall = "unreadable_tool_call",
        /// The answer is not a Chat Completions answer.
        Malformed = "malformed",
        TooLarge = "too_large",
        /// The deadline of the run passed first.
        RunDeadline = "run_deadline",
    }
}

impl ErrorKind {
    /// Whether a retry may succeed.
    pub(crate) const fn is_transient(self) -> bool {
        match self {
            Self::Connection
            | Self::Timeout
            | Self::RateLimited
            | Self::ServerError
            | Self::UnreadableToolCall => true,
            Self::Quota
            | Self::ContentFilter
            | Self::ContextTooLong
            | Self::BadRequest
            | Self::Authentication
            | Self::UnknownModel
            | Self::Malformed
            | Self::TooLarge
            | Self::RunDeadline => false,
        }
    }

    /// The end of the sentence "Agent execution failed: …" for the user. It contains nothing that the provider wrote.
    const fn reason(self) -> &'static str {
        match self {
            Self::Connection => "the model provider could not be reached",
            Self::Timeout => "the model provider did not answer in time",
            Self::RateLimited => "the model provider is overloaded; try again in a minute",
            Self::Quota => "the model provider's quota is used up; an administrator must raise it",
            Self::ServerError => "the model provider has a problem; try again later",
            Self::ContentFilter => {
                "the model provider's content filter rejected the conversation; other words may help"
            }
            Self::ContextTooLong => "the conversation is too long for the model; start a new one",
            Self::BadRequest => "the model provider rejected the request; an administrator can see why",
            Self::Authentication => "the model provider rejected the API key; an administrator must check it",
            Self::UnknownModel => {
                "the model provider does not know the model; an administrator must check its name"
            }
            Self::UnreadableToolCall => "the model wrote a tool call that could not be read; try again",
            Self::Malformed => "the model provider's answer could not be read",
            Self::TooLarge => "the model provider's answer was too large",
            Self::RunDeadline => "the run took too long",
        }
    }
}

/// A failed model request. Its text is for the log and for administrators; users see [`reason`](Self::reason).
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    /// The connection could not be made, or broke before the answer was complete.
    #[error("connection: {0}")]
    Connection(String),
    /// The provider answered with an error.
    #[error("{0}")]
    Provider(Box<ProviderError>),
    /// No answer within the time limit.
    #[error("timed out")]
    TimedOut,
    /// The run's deadline passed first.
    #[error("the run's deadline passed")]
    RunDeadline,
    /// The answer is not a Chat Completions answer.
    #[error("not a valid answer: {0}")]
    Malformed(String),
    /// The response has status 200 and ended before the first choice.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The response has status 200, and its connection broke before the first choice.
    #[error("connection: {0}")]
    BrokenOff(String),
    /// The answer is larger than the limit.
    #[error("the answer is too large")]
    TooLarge,
}

impl ModelError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Connection(_) | Self::BrokenOff(_) => ErrorKind::Connection,
            Self::Provider(error) => error.kind,
            Self::TimedOut => ErrorKind::Timeout,
            Self::RunDeadline => ErrorKind::RunDeadline,
            Self::Malformed(_) | Self::NoAnswer(_) => ErrorKind::Malformed,
            Self::TooLarge => ErrorKind::TooLarge,
        }
    }

    /// Whether a retry may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        self.kind().is_transient()
    }

    /// Whether the conversation exceeds the model's context window.
    pub(crate) fn is_context_overflow(&self) -> bool {
        self.kind() == ErrorKind::ContextTooLong
    }

    /// Whether the conversation exceeds the model's context window, or may exceed it: some servers just end the response then.
    pub(crate) fn may_be_context_overflow(&self) -> bool {
        self.is_context_overflow() || matches!(self, Self::NoAnswer(_) | Self::BrokenOff(_))
    }

    /// How long the provider asks to wait before the next request.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Provider(error) => error.retry_after,
            _ => None,
        }
    }

    /// The provider's message, if it rejects the request as such.
    pub(super) fn rejection(&self) -> Option<&str> {
        match self {
            Self::Provider(error) if error.kind == ErrorKind::BadRequest => Some(&error.message),
            _ => None,
        }
    }

    /// The end of the sentence "Agent execution failed: …" for the user. It contains nothing that the provider wrote.
    pub(crate) fn reason(&self) -> String {
        let reason = self.kind().reason();
        match self {
            Self::Provider(error) if error.status > 0 => format!("{reason} (status {})", error.status),
            _ => reason.to_owned(),
        }
    }
}

impl From<ProviderError> for ModelError {
    fn from(error: ProviderError) -> Self {
        Self::Provider(Box::new(error))
    }
}

impl From<reqwest::Error> for ModelError {
    fn from(error: reqwest::Error) -> Self {
        Self::Connection(one_line(&error_chain(&error)))
    }
}

/// The first 300 characters of a text, on one line and without control characters.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(300)
        .collect()
}
