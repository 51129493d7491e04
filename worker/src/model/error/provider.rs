//! Errors that a provider reports: reads them in every known form and classifies them.
//!
//! Known forms are an object `error` (most providers), a list of such objects (Gemini), `error` as a text (xAI, TGI),
//! `detail` as a text or a list (servers written in Python), the members of the error at the top level (Mistral), and plain text. Any of them may
//! arrive with an error status, with status 200 in place of an answer, or in the middle of a stream.

use std::{fmt, time::Duration};

use errand_shared::service::metrics::LabelValue;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{ErrorKind, one_line, retry_after};

/// What a provider says about an error.
#[derive(Debug)]
pub(crate) struct ProviderError {
    pub(super) kind: ErrorKind,
    /// The HTTP status, or the one in the error if it arrived with status 200. 0 if it is unknown.
    pub(super) status: u16,
    /// How long the provider asks to wait before the next request.
    pub(super) retry_after: Option<Duration>,
    /// The provider's own words, on one line.
    pub(super) message: String,
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            status,
            message,
            ..
        } = self;
        match status {
            0 => write!(f, "{}: {message}", kind.as_str()),
            status => write!(f, "status {status} ({}): {message}", kind.as_str()),
        }
    }
}

impl ProviderError {
    /// The error of a response with an error status.
    pub(in crate::model) fn in_response(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let value = serde_json::from_slice(body)
            .unwrap_or_else(|_not_json| Value::String(String::from_utf8_lossy(body).into_owned()));
        let mut error = Self::new(status, &value);
        // A header is meant for the client, a body may repeat what an upstream server said.
        error.retry_after = retry_after::retry_after_in_headers(headers).or(error.retry_after);
        error.classify(&value);
        error
    }

    /// The error in the member `error` of a chunk. `None` if it is empty.
    pub(in crate::model) fn in_chunk(error: &Value) -> Option<Self> {
        is_meaningful(error).then(|| Self::in_event(error))
    }

    /// The error in a JSON document that should be an answer. `None` if it is not an error.
    pub(in crate::model) fn in_document(value: &Value) -> Option<Self> {
        let is_error = match value {
            Value::Object(members) => {
                let has = |name: &str| members.get(name).is_some_and(is_meaningful);
                has("error")
                    || members.get("object").is_some_and(|object| object == "error")
                    || !members.contains_key("choices")
                        && (has("detail") || has("errors") || has("message") && (has("code") || has("type")))
            }
            Value::Array(items) => return items.iter().find_map(Self::in_document),
            _ => false,
        };
        is_error.then(|| Self::in_event(value))
    }

    /// The error in an event of the type `error`.
    pub(in crate::model) fn in_event(value: &Value) -> Self {
        let mut error = Self::new(0, value);
        error.classify(value);
        error
    }

    /// An error that an answer indicates in another way.
    pub(in crate::model) fn in_answer(kind: ErrorKind, message: &str) -> Self {
        Self {
            kind,
            status: 0,
            retry_after: None,
            message: one_line(message),
        }
    }

    fn new(status: u16, value: &Value) -> Self {
        let detail = detail(value);
        Self {
            kind: ErrorKind::BadRequest,
            status: if status > 0 {
                status
            } else {
                status_in(detail).or_else(|| status_in(value)).unwrap_or(0)
            },
            retry_after: retry_after::retry_after_in_body(value),
            message: one_line(&message(detail, value)),
        }
    }

    fn classify(&mut self, value: &Value) {
        let mut words = self.message.to_ascii_lowercase();
        for name in [
            "code",
            "type",
            "status",
            "error_type",
            "reason",
            "failed_generation",
        ] {
            for value in [detail(value), value] {
                match value.get(name) {
                    Some(Value::String(word)) if name == "failed_generation" || !word.is_empty() => {
                        words.push('\n');
                        words.push_str(if name == "failed_generation" { name } else { word });
                    }
                    _ => {}
                }
            }
        }
        words.make_ascii_lowercase();
        self.kind = kind(self.status, self.retry_after.is_some(), &words);
    }
}

/// The words that identify a kind of error whatever the status is, in order of precedence.
const WORDS: [(ErrorKind, &[&str]); 5] = [
    (
        ErrorKind::UnreadableToolCall,
        &[
            "tool_use_failed",
            "failed_generation",
            "malformed_function_call",
            "malformed function call",
            "tool call validation failed",
            "parse tool call",
            "parsing tool call",
        ],
    ),
    (
        ErrorKind::Quota,
        &[
            "insufficient_quota",
            "insufficient quota",
            "insufficient_balance",
            "insufficient balance",
            "insufficient credits",
            "insufficient_credits",
            "requires more credits",
            "billing_hard_limit",
            "credit balance is too low",
            "payment required",
            "arrearage",
        ],
    ),
    (
        ErrorKind::ContextTooLong,
        &[
            "context_length_exceeded",
            "exceed_context_size",
            "too_many_prompt_tokens",
            "maximum context length",
            "max context length",
            "context length exceeded",
            "exceeds the context length",
            "context window",
            "available context size",
            "prompt is too long",
            "prompt too long",
            "input is too long",
            "input length",
            "input token count",
            "reduce the length",
            "tokens must be reduced",
            "total length of all messages",
        ],
    ),
    (
        ErrorKind::ContentFilter,
        &[
            "content_filter",
            "content filter",
            "content_policy",
            "content policy",
            "content management policy",
            "responsibleai",
            "data_inspection_failed",
            "inappropriate content",
            "prohibited_content",
            "requires moderation",
            "was flagged",
            "safety system",
        ],
    ),
    // `--jinja` is a flag of llama.cpp without which it answers requests with tools with status 500.
    (ErrorKind::BadRequest, &["requires --jinja", "support tool use"]),
];

/// The words that identify a kind of error if the status does not indicate an error of the server.
const CLIENT_ERROR_WORDS: [(ErrorKind, &[&str]); 3] = [
    (
        ErrorKind::RateLimited,
        &[
            "rate_limit",
            "rate limit",
            "ratelimit",
            "too many requests",
            "too_many_requests",
        ],
    ),
    (
        ErrorKind::UnknownModel,
        &[
            "model_not_found",
            "model not found",
            "model_not_exist",
            "model_decommissioned",
            "invalid_model",
            "invalid model",
            "unknown model",
            "not a valid model",
            "supported api model names",
            "deploymentnotfound",
            "no endpoints found",
            "is not found for api version",
        ],
    ),
    (
        ErrorKind::Authentication,
        &[
            "invalid_api_key",
            "invalid api key",
            "incorrect api key",
            "api_key_invalid",
            "api key not valid",
            "authentication_error",
            "unauthorized",
            "unauthenticated",
            "permission_denied",
        ],
    ),
];

/// The kind of an error. `words` are its texts in lower case, `has_wait` says that the provider asks to wait.
fn kind(status: u16, has_wait: bool, words: &str) -> ErrorKind {
    let find = |table: &[(ErrorKind, &[&str])]| {
        let known = table
            .iter()
            .find(|(_, known)| known.iter().any(|known| words.contains(known)));
        known.map(|(kind, _)| *kind)
    };
    if status == 401 {
        return ErrorKind::Authentication;
    }
    if let Some(kind) = find(&WORDS) {
        return kind;
    }
    // Gemini uses the same sentence for an exhausted account and for a limit per minute, which has a wait.
    if (words.contains("exceeded your current quota") || words.contains("quota exceeded")) && !has_wait {
        return ErrorKind::Quota;
    }
    match status {
        402 => ErrorKind::Quota,
        429 => ErrorKind::RateLimited,
        413 => ErrorKind::ContextTooLong,
        408 | 409 | 425 | 500 | 502.. => ErrorKind::ServerError,
        _ => find(&CLIENT_ERROR_WORDS).unwrap_or(match status {
            403 => ErrorKind::Authentication,
            404 => ErrorKind::UnknownModel,
            // An error without a status is the provider's, unless it says otherwise.
            0 if !words.contains("invalid_request") && !words.contains("bad request") => {
                ErrorKind::ServerError
            }
            _ => ErrorKind::BadRequest,
        }),
    }
}

/// Whether a value contains anything but `null`, zero, `false` and empty texts.
fn is_meaningful(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => items.iter().any(is_meaningful),
        Value::Object(members) => members.values().any(is_meaningful),
    }
}

/// The part of a document that describes the error.
fn detail(value: &Value) -> &Value {
    let inner = match value {
        Value::Array(items) => items.first(),
        value => value.get("error").filter(|error| is_meaningful(error)),
    };
    inner.map_or(value, detail)
}

/// The status in an error that arrived with status 200.
fn status_in(value: &Value) -> Option<u16> {
    ["status_code", "code", "status", "raw_status_code"]
        .into_iter()
        .find_map(|name| {
            let status = match value.get(name)? {
                Value::String(text) => text.trim().parse().ok()?,
                value => value.as_u64()?,
            };
            let is_error = (400..600).contains(&status);
            u16::try_from(status).ok().filter(|_| is_error)
        })
}

/// The provider's words: the message, and what an upstream server said.
fn message(detail: &Value, whole: &Value) -> String {
    const NAMES: [&str; 7] = [
        "message",
        "msg",
        "detail",
        "error_description",
        "errors",
        "title",
        "Message",
    ];
    let find = |value: &Value| {
        NAMES
            .into_iter()
            .find_map(|name| value.get(name).filter(|value| is_meaningful(value)).map(text))
    };
    let mut message = match detail {
        Value::String(text) => text.clone(),
        _ => find(detail)
            .or_else(|| find(whole))
            .unwrap_or_else(|| text(detail)),
    };
    let upstream = detail
        .get("metadata")
        .and_then(|metadata| metadata.get("raw"))
        .filter(|raw| is_meaningful(raw));
    if let Some(upstream) = upstream {
        message.push_str(": ");
        message.push_str(&text(upstream));
    }
    message
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
