//! Parses and validates the agents file, keeping positions so that an error can name its line.

mod fallbacks;
mod request;
mod servers;

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use toml::Spanned;

use super::{AgentConfig, Agents, BUILT_IN, McpServer, Secrets};
use crate::service::config::Secret;

/// The length of an agent's name.
const NAME_CHARS: RangeInclusive<usize> = 1..=64;
/// The length of a prompt, in characters.
const PROMPT_CHARS: RangeInclusive<usize> = 1..=32_768;
/// The length of a model's name or of a URL, in characters.
const WORD_CHARS: RangeInclusive<usize> = 1..=1024;

/// A broken rule and its position.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    offset: usize,
    /// The broken rule, on one line.
    pub(super) what: String,
}

impl Fault {
    fn at<T>(place: &Spanned<T>, what: impl Into<String>) -> Self {
        Self {
            offset: place.span().start,
            what: what.into(),
        }
    }

    /// The line number, starting at 1.
    pub(super) fn line(&self, text: &str) -> usize {
        text.bytes()
            .take(self.offset)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    default: Option<Spanned<String>>,
    #[serde(default)]
    agents: BTreeMap<Spanned<String>, Written>,
    #[serde(default)]
    mcp_servers: Vec<servers::Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    prompt: Option<Spanned<String>>,
    model: Option<Spanned<String>>,
    temperature: Option<Spanned<f32>>,
    max_tokens: Option<Spanned<u32>>,
    base_url: Option<Spanned<String>>,
    api_key: Option<Spanned<Reference>>,
    #[serde(default)]
    headers: BTreeMap<Spanned<String>, Spanned<Reference>>,
    request: Option<Spanned<Map<String, Value>>>,
    reasoning_effort: Option<Spanned<String>>,
    #[serde(default)]
    fallbacks: Vec<fallbacks::Written>,
    max_steps: Option<Spanned<u16>>,
    max_calls: Option<Spanned<u16>>,
    max_calls_per_step: Option<Spanned<u16>>,
    history_max_messages: Option<Spanned<u16>>,
    history_max_tokens: Option<Spanned<u32>>,
    tools: Option<Vec<Spanned<String>>>,
    approve: Option<Vec<Spanned<String>>>,
}

/// Parses and validates the text of a file.
pub(super) fn read(text: &str, tools: &[&str], secrets: Secrets) -> Result<Agents, Fault> {
    let document: Document = toml::from_str(text).map_err(|error| Fault {
        offset: error.span().map_or(0, |span| span.start),
        what: error.message().replace('\n', "; "),
    })?;
    let servers = servers::check_all(document.mcp_servers, secrets)?;
    let mut named = BTreeMap::new();
    for (name, written) in document.agents {
        check_name(&name)?;
        named.insert(name.into_inner(), check(written, tools, &servers, secrets)?);
    }
    named.entry(BUILT_IN.to_owned()).or_default();
    let default = match document.default {
        Some(default) if !named.contains_key(default.get_ref()) => {
            return Err(Fault::at(&default, "default: no agent has this name"));
        }
        Some(default) => default.into_inner(),
        None => BUILT_IN.to_owned(),
    };
    Ok(Agents {
        default,
        named,
        servers,
    })
}

fn check_name(name: &Spanned<String>) -> Result<(), Fault> {
    let is_plain =
        |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '_' | '-');
    let text = name.get_ref();
    if NAME_CHARS.contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(());
    }
    Err(Fault::at(
        name,
        "an agent's name must have 1 to 64 characters of a-z, 0-9, _ and -",
    ))
}

fn check(
    written: Written,
    tools: &[&str],
    servers: &[McpServer],
    secrets: Secrets,
) -> Result<AgentConfig, Fault> {
    Ok(AgentConfig {
        prompt: text("prompt", written.prompt, PROMPT_CHARS)?,
        model: text("model", written.model, WORD_CHARS)?,
        temperature: number("temperature", written.temperature, 0.0..=2.0)?,
        max_tokens: number("max_tokens", written.max_tokens, 1..=u32::MAX)?,
        base_url: url("base_url", written.base_url)?,
        api_key: secret("api_key", written.api_key, secrets)?,
        headers: servers::headers(written.headers, secrets)?,
        request: request::check(written.request, written.reasoning_effort)?,
        fallbacks: fallbacks::check_all(written.fallbacks, secrets)?,
        max_steps: number("max_steps", written.max_steps, 1..=1000)?,
        max_calls: number("max_calls", written.max_calls, 1..=10_000)?,
        max_calls_per_step: number("max_calls_per_step", written.max_calls_per_step, 1..=1000)?,
        history_max_messages: number("history_max_messages", written.history_max_messages, 0..=1000)?,
        history_max_tokens: number("history_max_tokens", written.history_max_tokens, 0..=u32::MAX)?,
        tools: written
            .tools
            .map(|chosen| known("tools", chosen, tools, servers))
            .transpose()?,
        approve: written
            .approve
            .map(|chosen| known("approve", chosen, tools, servers))
            .transpose()?,
    })
}

fn text(
    name: &str,
    value: Option<Spanned<String>>,
    chars: RangeInclusive<usize>,
) -> Result<Option<String>, Fault> {
    let Some(value) = value else { return Ok(None) };
    let text = value.get_ref();
    if text.trim().is_empty() || text.contains('\0') || !chars.contains(&text.chars().count()) {
        let max = chars.end();
        let what = format!("{name}: must have 1 to {max} characters, not only white space, and no U+0000");
        return Err(Fault::at(&value, what));
    }
    Ok(Some(value.into_inner()))
}

fn url(name: &str, value: Option<Spanned<String>>) -> Result<Option<String>, Fault> {
    if let Some(value) = &value
        && !["http://", "https://"].iter().any(|scheme| {
            value
                .get_ref()
                .strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty())
        })
    {
        return Err(Fault::at(value, format!("{name}: must be an http or https URL")));
    }
    text(name, value, WORD_CHARS)
}

fn number<T: PartialOrd + fmt::Display + Copy>(
    name: &str,
    value: Option<Spanned<T>>,
    range: RangeInclusive<T>,
) -> Result<Option<T>, Fault> {
    match value {
        Some(value) if !range.contains(value.get_ref()) => {
            let what = format!("{name}: must be {} to {}", range.start(), range.end());
            Err(Fault::at(&value, what))
        }
        value => Ok(value.map(Spanned::into_inner)),
    }
}

fn known(
    name: &str,
    chosen: Vec<Spanned<String>>,
    tools: &[&str],
    servers: &[McpServer],
) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = Vec::with_capacity(chosen.len());
    for tool in chosen {
        let text = tool.get_ref().as_str();
        if !tools.contains(&text) && !servers::can_choose(text, servers) {
            let mut available = tools.join(", ");
            for server in servers {
                available.push_str(", ");
                available.push_str(&server.name);
                available.push_str(".*");
            }
            let what = format!("{name}: no such tool; available: {available}");
            return Err(Fault::at(&tool, what));
        }
        if names.contains(tool.get_ref()) {
            return Err(Fault::at(&tool, format!("{name}: listed twice")));
        }
        names.push(tool.into_inner());
    }
    Ok(names)
}

/// A reference to a secret in the environment.
#[derive(Debug)]
struct Reference {
    env: String,
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReferenceVisitor)
    }
}

struct ReferenceVisitor;

impl<'de> Visitor<'de> for ReferenceVisitor {
    type Value = Reference;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{ env = \"NAME\" }")
    }

    /// Does not repeat the text, which may be a secret in plain text.
    fn visit_str<E: de::Error>(self, _plain: &str) -> Result<Reference, E> {
        Err(E::custom(
            "must be { env = \"NAME\" }: this file must not contain secrets",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Reference, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            env: String,
        }
        let Fields { env } = Fields::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Reference { env })
    }
}

fn secret(name: &str, value: Option<Spanned<Reference>>, secrets: Secrets) -> Result<Option<Secret>, Fault> {
    let Some(reference) = value.filter(|_| secrets == Secrets::Read) else {
        return Ok(None);
    };
    let variable = &reference.get_ref().env;
    match std::env::var_os(variable).map(std::ffi::OsString::into_string) {
        Some(Ok(plain)) if !plain.is_empty() => Ok(Some(Secret::new(plain))),
        Some(Err(_)) => Err(Fault::at(
            &reference,
            format!("{name}: the variable {variable} is not UTF-8"),
        )),
        _ => Err(Fault::at(
            &reference,
            format!("{name}: the variable {variable} is not set"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: [&str; 2] = ["add_task", "list_tasks"];

    pub(super) fn fault(text: &str) -> String {
        let fault = read(text, &TOOLS, Secrets::Read).unwrap_err();
        format!("{}: {}", fault.line(text), fault.what)
    }

    #[test]
    fn an_empty_file_has_the_built_in_agent() {
        assert_eq!(read("", &TOOLS, Secrets::Read), Ok(Agents::default()));
    }

    #[test]
    fn every_member_of_an_agent_is_read() {
        let text = r#"
            default = "shopper"
            [agents.shopper]
            prompt = "You keep a shopping list."
            model = "small"
            temperature = 0
            max_tokens = 200
            base_url = "http://127.0.0.1:11434/v1"
            api_key = { env = "PATH" }
            headers = { X-Team = { env = "PATH" } }
            max_steps = 3
            max_calls = 9
            max_calls_per_step = 2
            history_max_messages = 4
            history_max_tokens = 500
            tools = ["add_task"]
            [agents.talker]
            tools = []
        "#;
        let agents = read(text, &TOOLS, Secrets::Read).unwrap();
        assert_eq!(agents.default_name(), "shopper");
        let names: Vec<_> = agents.all().map(|(name, _)| name).collect();
        assert_eq!(names, ["shopper", "talker", "todo"]);
        let shopper = &agents.named["shopper"];
        assert_eq!(shopper.prompt.as_deref(), Some("You keep a shopping list."));
        assert_eq!(shopper.temperature, Some(0.0));
        assert_eq!(shopper.max_calls_per_step, Some(2));
        assert_eq!(shopper.tools, Some(vec!["add_task".to_owned()]));
        assert_eq!(
            shopper.api_key.as_ref().map(|key| key.reveal().to_owned()),
            std::env::var_os("PATH").map(|path| path.into_string().unwrap())
        );
        let [(header, value)] = shopper.headers.as_slice() else {
            panic!("one header: {:?}", shopper.headers);
        };
        assert_eq!(
            (header.as_str(), Some(value)),
            ("X-Team", shopper.api_key.as_ref())
        );
        assert_eq!(agents.named["talker"].tools, Some(Vec::new()));
        assert_eq!(agents.named["todo"], AgentConfig::default());
    }

    #[test]
    fn a_broken_rule_is_reported_with_its_line() {
        let cases = [
            ("\ndefault = \"unknown\"", "2: default: no agent has"),
            ("[agents.\"A b\"]", "1: an agent's name must have"),
            ("[agents.a]\npromt = \"x\"", "2: unknown field `promt`"),
            ("[agents.a]\n\nprompt = \"  \"", "3: prompt: must have 1 to"),
            ("[agents.a]\ntemperature = 2.5", "2: temperature: must be 0 to 2"),
            ("[agents.a]\ntemperature = nan", "2: temperature: must be 0 to 2"),
            ("[agents.a]\nmax_tokens = 0", "2: max_tokens: must be 1"),
            ("[agents.a]\nmax_tokens = -1", "2: "),
            ("[agents.a]\nmax_steps = \"many\"", "2: invalid type"),
            (
                "[agents.a]\nbase_url = \"ftp://x\"",
                "2: base_url: must be an http",
            ),
            (
                "[agents.a]\ntools = [\n\"add_task\",\n\"fly\"]",
                "4: tools: no such tool",
            ),
            (
                "[agents.a]\ntools = [\"add_task\", \"add_task\"]",
                "2: tools: listed twice",
            ),
            (
                "[agents.a]\napi_key = { env = \"ERRAND_NO_SUCH\" }",
                "2: api_key: the variable ERRAND_NO_SUCH is not set",
            ),
            (
                "[agents.a]\nheaders = { \"a b\" = { env = \"PATH\" } }",
                "2: headers: invalid name",
            ),
            (
                "[agents.a]\napi_key = { file = \"x\" }",
                "2: unknown field `file`",
            ),
            ("[agents.a]\n[agents.a]", "2: "),
            ("agents = ", "1: "),
        ];
        for (text, expected) in cases {
            let fault = fault(text);
            assert!(fault.starts_with(expected), "{text}: {fault}");
            assert!(!fault.contains('\n'), "{fault}");
        }
    }

    #[test]
    fn a_secret_in_plain_text_is_rejected_without_repeating_it() {
        let text = "[agents.a]\napi_key = \"sk-hunter2\"";
        let fault = fault(text);
        assert!(fault.starts_with("2: must be { env"), "{fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
    }

    #[test]
    fn ignored_secrets_need_not_exist() {
        let text = "[agents.a]\napi_key = { env = \"ERRAND_NO_SUCH\" }";
        let agents = read(text, &TOOLS, Secrets::Leave).unwrap();
        assert_eq!(agents.named["a"].api_key, None);
    }
}
