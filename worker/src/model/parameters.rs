//! Which optional parameters a model at a server accepts.
//!
//! Known models and servers are in a table. For others the client learns from the errors: a rejected parameter is replaced or left
//! out, and the request is sent again. What was learned is kept until the process ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::Url;

use crate::settings::ModelSettings;

/// Models that take `max_completion_tokens` instead of `max_tokens`, and no temperature other than 1. Prefixes of the name after
/// the last slash. Source: the API reference of `OpenAI` on reasoning models.
const REASONING_MODELS: [&str; 4] = ["o1", "o3", "o4-", "gpt-5"];
/// Models that reject a temperature. Source: Moonshot's documentation of its thinking models.
const MODELS_WITHOUT_TEMPERATURE: [&str; 2] = ["kimi-k2.", "kimi-k2-thinking"];
/// Hosts that reject `stream_options`; they always report the usage. Sources: Mistral answers 422 "Extra inputs are not permitted";
/// Databricks' reference of foundation model APIs has no such parameter.
const HOSTS_WITHOUT_STREAM_OPTIONS: [&str; 3] = [".mistral.ai", ".databricks.com", ".azuredatabricks.net"];

/// Words of errors that reject a parameter as such, not only its value.
const REJECTIONS: [&str; 11] = [
    "unsupported",
    "not support",
    "unrecognised",
    "unrecognized",
    "unknown",
    "unexpected",
    "extra_forbidden",
    "extra inputs",
    "not permitted",
    "not allowed",
    "only the default",
];

/// The optional parameters of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one per parameter")]
pub(super) struct Parameters {
    /// `max_completion_tokens` replaces `max_tokens`.
    pub(super) max_completion_tokens: bool,
    pub(super) temperature: bool,
    pub(super) stream_options: bool,
    /// `max_completion_tokens` has been rejected.
    only_max_tokens: bool,
}

/// The parameters that the model and the server of one client accept, as far as they are known.
#[derive(Debug)]
pub(super) struct AcceptedParameters {
    current: Mutex<Parameters>,
    /// The parameters that the provider has rejected, in order.
    rejected: Mutex<Vec<&'static str>>,
}

impl AcceptedParameters {
    pub(super) fn new(settings: &ModelSettings, url: &Url) -> Self {
        let model = settings.openai_model.rsplit('/').next().unwrap_or_default();
        let is_model = |prefixes: &[&str]| prefixes.iter().any(|prefix| model.starts_with(prefix));
        let host = format!(".{}", url.host_str().unwrap_or_default());
        let is_reasoning = is_model(&REASONING_MODELS);
        let known = Parameters {
            max_completion_tokens: is_reasoning,
            temperature: !is_reasoning && !is_model(&MODELS_WITHOUT_TEMPERATURE),
            stream_options: !HOSTS_WITHOUT_STREAM_OPTIONS
                .iter()
                .any(|suffix| host.ends_with(suffix)),
            only_max_tokens: false,
        };
        Self {
            current: Mutex::new(known),
            rejected: Mutex::default(),
        }
    }

    /// The parameters for the next request.
    pub(super) fn get(&self) -> Parameters {
        *lock(&self.current)
    }

    /// The parameters that the provider has rejected since the client exists.
    pub(super) fn rejected(&self) -> Vec<&'static str> {
        lock(&self.rejected).clone()
    }

    /// Learns from the error of a request with the parameters `sent`. Returns whether the request must be sent again with other
    /// parameters. `message` is the provider's.
    pub(super) fn learn(&self, sent: Parameters, message: &str) -> bool {
        let Some((parameter, accepted)) = sent.without_rejected(message) else {
            return false;
        };
        let mut current = lock(&self.current);
        let before = *current;
        current.max_completion_tokens = accepted.max_completion_tokens;
        current.only_max_tokens |= accepted.only_max_tokens;
        current.temperature &= accepted.temperature;
        current.stream_options &= accepted.stream_options;
        if *current != before {
            lock(&self.rejected).push(parameter);
            tracing::info!(
                parameter,
                "the model provider rejects a request parameter; requests are sent without it"
            );
        }
        *current != sent
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parameters {
    /// The parameter that an error rejects, and the parameters without it. `None` if the error rejects none of them.
    fn without_rejected(self, message: &str) -> Option<(&'static str, Self)> {
        let message = message.to_ascii_lowercase();
        if !REJECTIONS.iter().any(|rejection| message.contains(rejection)) {
            return None;
        }
        let position = |name: &'static str| message.find(name).map(|position| (position, name));
        let max_tokens = position("max_tokens");
        let max_completion_tokens = position("max_completion_tokens");
        let sent = [
            position("stream_options").filter(|_| self.stream_options),
            position("temperature").filter(|_| self.temperature),
            max_tokens.filter(|_| !self.max_completion_tokens && !self.only_max_tokens),
            // Named after `max_tokens`, it is the recommended replacement, not the rejected parameter.
            max_completion_tokens
                .filter(|_| self.max_completion_tokens)
                .filter(|named| max_tokens.is_none_or(|other| *named < other)),
        ];
        let (_, parameter) = sent.into_iter().flatten().min()?;
        let mut accepted = self;
        match parameter {
            "stream_options" => accepted.stream_options = false,
            "temperature" => accepted.temperature = false,
            "max_tokens" => accepted.max_completion_tokens = true,
            _ => {
                accepted.max_completion_tokens = false;
                accepted.only_max_tokens = true;
            }
        }
        Some((parameter, accepted))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        model: ModelSettings,
    }

    fn accepted(model: &str, url: &str) -> AcceptedParameters {
        let settings = Program::parse_from(["program", "--openai-model", model]).model;
        AcceptedParameters::new(&settings, &url.parse().unwrap())
    }

    /// Whether `max_completion_tokens`, `temperature` and `stream_options` are sent.
    fn sent(accepted: &AcceptedParameters) -> (bool, bool, bool) {
        let Parameters {
            max_completion_tokens,
            temperature,
            stream_options,
            ..
        } = accepted.get();
        (max_completion_tokens, temperature, stream_options)
    }

    const OPENAI: &str = "https://api.openai.com/v1";

    #[test]
    fn known_models_and_servers() {
        let known = |model, url| sent(&accepted(model, url));
        for model in ["gpt-4", "gpt-4o", "gpt-4.1-mini", "openai/gpt-4", "o", "llama-o3"] {
            assert_eq!(known(model, OPENAI), (false, true, true), "{model}");
        }
        for model in [
            "o1",
            "o3-mini",
            "o4-mini-2025-04-16",
            "gpt-5",
            "gpt-5.1",
            "openai/gpt-5-mini",
        ] {
            assert_eq!(known(model, OPENAI), (true, false, true), "{model}");
        }
        assert_eq!(
            known("kimi-k2.5", "https://api.moonshot.ai/v1"),
            (false, false, true)
        );
        assert_eq!(
            known("mistral-small", "https://api.mistral.ai/v1"),
            (false, true, false)
        );
        assert_eq!(
            known("x", "https://a.cloud.databricks.com/serving-endpoints"),
            (false, true, false)
        );
        assert_eq!(known("x", "https://notmistral.ai/v1"), (false, true, true));
    }

    const MAX_TOKENS: &str = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";

    #[test]
    fn rejected_parameters_are_replaced_or_left_out() {
        let accepted = accepted("new", OPENAI);
        let learn = |message| accepted.learn(accepted.get(), message);
        assert!(learn(MAX_TOKENS));
        assert_eq!(sent(&accepted), (true, true, true));
        assert!(!learn(MAX_TOKENS), "the recommended parameter is sent already");
        assert_eq!(sent(&accepted), (true, true, true));
        let value = "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.";
        assert!(learn(value));
        assert!(!learn(value), "it is not sent any more");
        assert!(learn(
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}"#
        ));
        assert_eq!(sent(&accepted), (true, false, false));
        assert!(learn("Extra inputs are not permitted: max_completion_tokens"));
        assert_eq!(sent(&accepted), (false, false, false));
        assert!(!learn(MAX_TOKENS), "the alternative has been rejected");
        assert_eq!(
            accepted.rejected(),
            [
                "max_tokens",
                "temperature",
                "stream_options",
                "max_completion_tokens"
            ]
        );
    }

    #[test]
    fn recommended_parameter_is_not_the_rejected_one() {
        let reversed = accepted("new", OPENAI);
        assert!(reversed.learn(
            reversed.get(),
            "Use max_completion_tokens instead of max_tokens, which is not supported."
        ));
        assert_eq!(sent(&reversed), (true, true, true));

        let old_server = accepted("o1", OPENAI);
        assert!(old_server.learn(
            old_server.get(),
            "Unknown parameter: max_completion_tokens. Did you mean max_tokens?"
        ));
        assert_eq!(sent(&old_server), (false, false, true));
    }

    #[test]
    fn requests_sent_before_it_was_learned_are_sent_again() {
        let accepted = accepted("new", OPENAI);
        let sent_before = accepted.get();
        assert!(accepted.learn(sent_before, MAX_TOKENS));
        assert!(accepted.learn(sent_before, MAX_TOKENS));
        assert_eq!(sent(&accepted), (true, true, true));
    }

    #[test]
    fn other_errors_change_nothing() {
        let accepted = accepted("new", OPENAI);
        for error in [
            "max_tokens is too large: 5000. This model supports at most 4096 completion tokens.",
            "Unsupported parameter: 'stop'",
            "temperature must be between 0 and 2",
            "",
        ] {
            assert!(!accepted.learn(accepted.get(), error), "{error}");
        }
        assert_eq!(sent(&accepted), (false, true, true));
    }
}
