//! The line that says what to change if a check fails, with the provider's own words.

use errand_agent::AgentFailure;
use errand_shared::domain::agents::AgentConfig;

use crate::{
    model::{ErrorKind, ModelError},
    settings::ModelSettings,
};

/// The checked model's settings by the names under which the operator sets them.
#[derive(Debug)]
pub(super) struct Names {
    key: String,
    has_key: bool,
    url: String,
    model: String,
    max_tokens: String,
}

impl Names {
    pub(super) fn new(agent: &str, config: &AgentConfig, settings: &ModelSettings) -> Self {
        let name = |setting: &str, member: &str, is_in_file: bool| {
            if is_in_file {
                format!("{member} of the agent {agent}")
            } else {
                setting.to_owned()
            }
        };
        let has_own_server = config.base_url.is_some();
        Self {
            key: name(
                "OPENAI_API_KEY",
                "api_key",
                has_own_server || config.api_key.is_some(),
            ),
            has_key: settings.openai_api_key.is_some(),
            url: name("OPENAI_BASE_URL", "base_url", has_own_server),
            model: format!(
                "{} ({})",
                name("OPENAI_MODEL", "model", config.model.is_some()),
                settings.openai_model
            ),
            max_tokens: name("OPENAI_MAX_TOKENS", "max_tokens", config.max_tokens.is_some()),
        }
    }

    /// The line for an error of a request.
    pub(super) fn of_error(&self, error: &ModelError) -> String {
        let Self { key, url, model, .. } = self;
        let advice = match error.kind() {
            ErrorKind::Connection => format!("{url}: the server could not be reached"),
            ErrorKind::Timeout | ErrorKind::RunDeadline => {
                format!("{url}: the server did not answer in time")
            }
            ErrorKind::RateLimited => "the server limits the rate of requests; check again later".to_owned(),
            ErrorKind::Quota => format!("{key}: the account has no credit left"),
            ErrorKind::ServerError => "the server has a problem; check again later".to_owned(),
            ErrorKind::ContentFilter => "the server's content filter rejected the question".to_owned(),
            ErrorKind::ContextTooLong => {
                format!("{model}: the context window is too small for the tools; use another model")
            }
            ErrorKind::BadRequest => "the server rejected the request".to_owned(),
            ErrorKind::Authentication if self.has_key => format!("{key}: the server rejected the key"),
            ErrorKind::Authentication => format!("{key}: the server requires a key"),
            ErrorKind::UnknownModel => {
                let words = error.to_string().to_ascii_lowercase();
                // The kind itself is one of the words.
                let is_about_model = words.replace("unknown_model", "").contains("model")
                    || words.contains("deployment")
                    || words.contains("endpoints found");
                if is_about_model {
                    format!("{model}: the server does not know the model")
                } else {
                    format!("{url}: there is no Chat Completions API below this URL")
                }
            }
            ErrorKind::UnreadableToolCall => {
                format!("{model}: the model wrote a tool call that the server could not read")
            }
            ErrorKind::Malformed => {
                format!("{url}: the answer was not a Chat Completions answer; does the URL lack `/v1`?")
            }
            ErrorKind::TooLarge => format!("{model}: the answer was too large"),
        };
        format!("{advice}: {error}")
    }

    /// The line for a server that rejects a request with tools, with `error`, and answers the same request without them.
    pub(super) fn without_tools(&self, error: &ModelError) -> String {
        let model = &self.model;
        format!(
            "{model}: the server answers, but not if tools are offered; use a model that supports tools, or enable them in the server: {error}"
        )
    }

    /// The line for a model that answers with text where it should call a tool.
    pub(super) fn no_calls(&self) -> String {
        let model = &self.model;
        format!(
            "{model}: the model called no tool although it was asked to; use a model that supports tools, or enable them in the server"
        )
    }

    /// The line for calls that have no valid arguments.
    pub(super) fn unusable_calls(&self, reason: &str) -> String {
        format!(
            "{}: the model's tool calls cannot be executed; use another model: {reason}",
            self.model
        )
    }

    /// The line for a model that does not reply after it received the results of its tool calls.
    pub(super) fn no_reply(&self, failure: AgentFailure) -> String {
        match failure {
            AgentFailure::NoRoomToAnswer => {
                format!("{}: too small: {failure}", self.max_tokens)
            }
            _ => format!("{}: no reply to the results of the tools: {failure}", self.model),
        }
    }
}
