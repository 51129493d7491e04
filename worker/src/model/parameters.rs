//! Which optional parameters a model at a server accepts.
//!
//! Known models and servers are in a table. For others the client learns from the errors: a rejected parameter is replaced or left
//! out, a demanded one is added, and the request is sent again. What was learned is kept until the process ends.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use reqwest::Url;
use serde_json::{Map, Value};

use crate::settings::ModelSettings;

/// Models that take `max_completion_tokens` instead of `max_tokens`, and no temperature other than 1. Prefixes of the name after
/// the last slash. Source: the API reference of `OpenAI` on reasoning models.
const REASONING_MODELS: [&str; 5] = ["o1", "o3", "o4-", "gpt-5", "gpt-6"];
/// Models that reject a temperature. Source: Moonshot's documentation of its thinking models.
const MODELS_WITHOUT_TEMPERATURE: [&str; 2] = ["kimi-k2.", "kimi-k2-thinking"];
/// Hosts that reject `stream_options`; they always report the usage. Sources: Mistral answers 422 "Extra inputs are not permitted";
/// Databricks' reference of foundation model APIs has no such parameter.
const HOSTS_WITHOUT_STREAM_OPTIONS: [&str; 3] = [".mistral.ai", ".databricks.com", ".azuredatabricks.net"];
/// Hosts that require `reasoning_content` with each message of the model, if only an empty one. Source: DeepSeek's guide to the thinking
/// mode.
const HOSTS_WITH_EMPTY_REASONING: [&str; 1] = [".api.deepseek.com"];
/// Hosts and models that require a signature with the first tool call of each step. Source: Gemini's guide to thought signatures.
const HOSTS_WITH_SIGNATURES: [&str; 1] = [".generativelanguage.googleapis.com"];
const MODELS_WITH_SIGNATURES: [&str; 1] = ["gemini-3"];
/// Hosts that accept only IDs of nine letters and digits for tool calls. Source: Mistral's error 400.
const HOSTS_WITH_SHORT_CALL_IDS: [&str; 1] = [".mistral.ai"];

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

const REASONING_EFFORT: &str = "reasoning_effort";

/// Errors that demand reasoning, signatures or short IDs contain all words of one of these lists.
const DEMANDS: [(&[&str], Change<'static>); 12] = [
    // DeepSeek: "The reasoning_content in the thinking mode must be passed back to the API."
    (&["reasoning_content", "must be"], Change::SendEmptyReasoning),
    (&["reasoning_content", "missing"], Change::SendEmptyReasoning),
    // Gemini 3: "Function call is missing a thought_signature in functionCall parts."
    (
        &["thought_signature", "missing"],
        Change::SendPlaceholderSignature,
    ),
    (
        &["thought signature", "missing"],
        Change::SendPlaceholderSignature,
    ),
    // Mistral: "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9."
    (&["tool call id", "length of 9"], Change::ShortenCallIds),
    // OpenAI: "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40".
    (&["tool_call", "id", "string too long"], Change::ShortenCallIds),
    // Anthropic: "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'".
    (&["tool_use", "id", "match pattern"], Change::ShortenCallIds),
    (&["tool_result", "id", "match pattern"], Change::ShortenCallIds),
    // OpenAI: "Function tools with reasoning_effort are not supported … use /v1/responses or set reasoning_effort to 'none'."
    (
        &["function tools", "reasoning_effort"],
        Change::SendNoReasoningEffort,
    ),
    // Servers that accept only texts: "Invalid value for 'content': expected a string, got null.",
    // "messages.2.content: Input should be a valid string", "content must not be null".
    (&["content", "got null"], Change::SendEmptyContent),
    (&["content", "should be a valid string"], Change::SendEmptyContent),
    (&["content", "not be null"], Change::SendEmptyContent),
];

/// The members with a provider's data that an error may reject.
const PROVIDER_DATA_MEMBERS: [&str; 6] = [
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
    "provider_specific_fields",
];

/// What is sent beside the model, the messages and the tools.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one per parameter")]
pub(super) struct Parameters {
    /// `max_completion_tokens` replaces `max_tokens`.
    pub(super) max_completion_tokens: bool,
    pub(super) temperature: bool,
    pub(super) stream_options: bool,
    /// Reasoning and signatures are sent back with tool calls: see [`provider_data`](super::provider_data).
    pub(super) provider_data: bool,
    /// Messages without reasoning are sent with an empty one.
    pub(super) empty_reasoning: bool,
    /// Tool calls without signature, which another model wrote, are sent with a placeholder.
    pub(super) placeholder_signature: bool,
    /// `reasoning_effort` is `none`, whatever the agent's `request` says.
    pub(super) no_reasoning_effort: bool,
    /// Messages with tool calls and without text are sent with an empty text instead of null.
    pub(super) empty_content: bool,
    /// IDs of tool calls are replaced by nine letters and digits.
    pub(super) short_call_ids: bool,
    /// The members of the agent's `request` that have been rejected.
    pub(super) omitted: Vec<String>,
    /// `max_completion_tokens` has been rejected.
    only_max_tokens: bool,
}

/// A change of the request that an error demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change<'a> {
    OmitStreamOptions,
    OmitTemperature,
    UseMaxCompletionTokens,
    UseMaxTokens,
    OmitMember(&'a str),
    OmitProviderData,
    SendEmptyReasoning,
    SendPlaceholderSignature,
    SendEmptyContent,
    SendNoReasoningEffort,
    ShortenCallIds,
}

impl fmt::Display for Change<'_> {
    /// The parameter in words of the API, with what is sent in its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OmitStreamOptions => "stream_options",
            Self::OmitTemperature => "temperature",
            Self::UseMaxCompletionTokens => "max_tokens",
            Self::UseMaxTokens => "max_completion_tokens",
            Self::OmitMember(name) => name,
            Self::OmitProviderData => "reasoning with tool calls",
            Self::SendEmptyReasoning => "messages without reasoning_content",
            Self::SendPlaceholderSignature => "tool calls without signature",
            Self::SendEmptyContent => "messages without content",
            Self::SendNoReasoningEffort => REASONING_EFFORT,
            Self::ShortenCallIds => "IDs of tool calls",
        })
    }
}

/// The parameters that the model and the server of one client accept, as far as they are known.
#[derive(Debug)]
pub(super) struct AcceptedParameters {
    current: Mutex<Parameters>,
    /// The agent's `request`.
    request: Arc<Map<String, Value>>,
    /// The changes that the provider has demanded, in order.
    changes: Mutex<Vec<String>>,
}

impl AcceptedParameters {
    pub(super) fn new(settings: &ModelSettings, url: &Url) -> Self {
        let model = settings.openai_model.rsplit('/').next().unwrap_or_default();
        let is_model = |prefixes: &[&str]| prefixes.iter().any(|prefix| model.starts_with(prefix));
        let host = format!(".{}", url.host_str().unwrap_or_default());
        let is_host = |suffixes: &[&str]| suffixes.iter().any(|suffix| host.ends_with(suffix));
        let is_reasoning = is_model(&REASONING_MODELS);
        let known = Parameters {
            max_completion_tokens: is_reasoning,
            temperature: !is_reasoning && !is_model(&MODELS_WITHOUT_TEMPERATURE),
            stream_options: !is_host(&HOSTS_WITHOUT_STREAM_OPTIONS),
            provider_data: true,
            empty_reasoning: is_host(&HOSTS_WITH_EMPTY_REASONING),
            placeholder_signature: is_host(&HOSTS_WITH_SIGNATURES) && is_model(&MODELS_WITH_SIGNATURES),
            empty_content: false,
            no_reasoning_effort: false,
            short_call_ids: is_host(&HOSTS_WITH_SHORT_CALL_IDS),
            omitted: Vec::new(),
            only_max_tokens: false,
        };
        Self {
            current: Mutex::new(known),
            request: Arc::clone(&settings.request),
            changes: Mutex::default(),
        }
    }

    /// The parameters for the next request.
    pub(super) fn get(&self) -> Parameters {
        lock(&self.current).clone()
    }

    /// The changes that the provider has demanded since the client exists.
    pub(super) fn changes(&self) -> Vec<String> {
        lock(&self.changes).clone()
    }

    /// Learns from the error of a request with the parameters `sent`. Returns whether the request must be sent again with other
    /// parameters. `message` is the provider's.
    pub(super) fn learn(&self, sent: &Parameters, message: &str) -> bool {
        let Some(change) = sent.demanded_change(&self.request, message) else {
            return false;
        };
        let mut current = lock(&self.current);
        let before = current.clone();
        current.apply(change);
        if *current != before {
            lock(&self.changes).push(change.to_string());
            tracing::info!(
                %change,
                "the model provider rejects the form of the request; it is changed from now on"
            );
        }
        *current != *sent
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parameters {
    fn apply(&mut self, change: Change<'_>) {
        match change {
            Change::OmitStreamOptions => self.stream_options = false,
            Change::OmitTemperature => self.temperature = false,
            Change::UseMaxCompletionTokens => self.max_completion_tokens = !self.only_max_tokens,
            Change::UseMaxTokens => {
                self.max_completion_tokens = false;
                self.only_max_tokens = true;
            }
            Change::OmitMember(name) => self.omit(name),
            Change::SendNoReasoningEffort => {
                self.no_reasoning_effort = true;
                self.omit(REASONING_EFFORT);
            }
            Change::OmitProviderData => self.provider_data = false,
            Change::SendEmptyReasoning => self.empty_reasoning = true,
            Change::SendPlaceholderSignature => self.placeholder_signature = true,
            Change::SendEmptyContent => self.empty_content = true,
            Change::ShortenCallIds => self.short_call_ids = true,
        }
    }

    fn omit(&mut self, name: &str) {
        if !self.omitted.iter().any(|omitted| omitted == name) {
            self.omitted.push(name.to_owned());
        }
    }

    /// The change that an error demands. `None` if it is about something else, or if the request has the change already.
    fn demanded_change<'a>(&self, request: &'a Map<String, Value>, message: &str) -> Option<Change<'a>> {
        let message = message.to_ascii_lowercase();
        let has_all = |words: &[&str]| words.iter().all(|word| message.contains(word));
        let demand = DEMANDS.iter().find(|(words, _)| has_all(words));
        let change = demand.map(|(_, change)| *change).or_else(|| {
            let rejects = REJECTIONS.iter().any(|rejection| message.contains(rejection));
            rejects.then(|| self.rejected(request, &message)).flatten()
        })?;
        let mut changed = self.clone();
        changed.apply(change);
        (changed != *self).then_some(change)
    }

    /// How to do without the parameter that an error rejects: of those sent, the one named first.
    fn rejected<'a>(&self, request: &'a Map<String, Value>, message: &str) -> Option<Change<'a>> {
        let position = |name: &str| position_of_word(message, name);
        let max_tokens = position("max_tokens");
        let max_completion_tokens = position("max_completion_tokens");
        let sent = [
            (
                position("stream_options"),
                self.stream_options,
                Change::OmitStreamOptions,
            ),
            (position("temperature"), self.temperature, Change::OmitTemperature),
            (
                max_tokens,
                !self.max_completion_tokens && !self.only_max_tokens,
                Change::UseMaxCompletionTokens,
            ),
            (
                // Named after `max_tokens`, it is the recommended replacement, not the rejected parameter.
                max_completion_tokens.filter(|named| max_tokens.is_none_or(|other| *named < other)),
                self.max_completion_tokens,
                Change::UseMaxTokens,
            ),
            (
                PROVIDER_DATA_MEMBERS
                    .iter()
                    .filter_map(|name| position(name))
                    .min(),
                self.provider_data,
                Change::OmitProviderData,
            ),
        ];
        let members = request.keys().filter(|name| !self.omitted.contains(name));
        let members = members.map(|name| {
            (
                position(&name.to_ascii_lowercase()),
                true,
                Change::OmitMember(name),
            )
        });
        sent.into_iter()
            .chain(members)
            .filter(|(_, is_sent, _)| *is_sent)
            .filter_map(|(position, _, change)| Some((position?, change)))
            .min()
            .map(|(_, change)| change)
    }
}

/// The position of a name in a text, where it is not a part of a longer name.
fn position_of_word(text: &str, name: &str) -> Option<usize> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    text.match_indices(name)
        .map(|(position, _)| position)
        .find(|position| {
            let (before, rest) = text.split_at(*position);
            let (_, after) = rest.split_at(name.len());
            !before.ends_with(is_part) && !after.starts_with(is_part)
        })
}

#[cfg(test)]
mod tests;
