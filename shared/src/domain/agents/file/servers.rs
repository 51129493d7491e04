//! The servers of a file of agents, and how an agent names their tools.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{Fault, Reference, WORD_CHARS, number, secret, text};
use crate::{
    domain::agents::{
        ApprovalPolicy, McpServer, McpTransport, Secrets,
        servers::{ALL_TOOLS, CHOICE_SEPARATOR},
    },
    service::config::Secret,
};

/// The maximum number of servers. Every worker opens a connection to each.
const MAX_SERVERS: usize = 32;
/// The length of a server's name. Together with the separator it leaves 38 of the 64 characters that model providers allow for a
/// tool's name.
const NAME_CHARS: RangeInclusive<usize> = 1..=24;
/// The maximum number of names in a list.
const MAX_NAMES: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: Spanned<String>,
    url: Option<Spanned<String>>,
    command: Option<Spanned<String>>,
    args: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    headers: BTreeMap<Spanned<String>, Spanned<Reference>>,
    #[serde(default)]
    env: BTreeMap<Spanned<String>, Spanned<Reference>>,
    tools: Option<Vec<Spanned<String>>>,
    idempotent: Option<Vec<Spanned<String>>>,
    approve: Option<Spanned<WrittenPolicy>>,
    timeout_seconds: Option<Spanned<u64>>,
    connect_timeout_seconds: Option<Spanned<u64>>,
    allow_private: Option<Spanned<bool>>,
    max_concurrent_calls: Option<Spanned<u16>>,
    max_result_bytes: Option<Spanned<u32>>,
    max_tools: Option<Spanned<u16>>,
    max_schema_bytes: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "approve: must be \"never\", \"destructive\", \"always\" or a list of tools"
)]
enum WrittenPolicy {
    Word(String),
    Tools(Vec<String>),
}

/// Validates all servers of a file.
pub(super) fn check_all(written: Vec<Written>, secrets: Secrets) -> Result<Vec<McpServer>, Fault> {
    let mut servers: Vec<McpServer> = Vec::with_capacity(written.len());
    for server in written {
        if servers.len() == MAX_SERVERS {
            let what = format!("mcp_servers: at most {MAX_SERVERS}");
            return Err(Fault::at(&server.name, what));
        }
        if servers.iter().any(|other| other.name == *server.name.get_ref()) {
            return Err(Fault::at(&server.name, "name: another server has this name"));
        }
        servers.push(check(server, secrets)?);
    }
    Ok(servers)
}

fn check(written: Written, secrets: Secrets) -> Result<McpServer, Fault> {
    check_name(&written.name)?;
    let transport = match (written.url, written.command) {
        (Some(url), None) => {
            let place = url.clone();
            if let Some(wrong) =
                misplaced(&[("args", written.args.is_some()), ("env", !written.env.is_empty())])
            {
                return Err(Fault::at(
                    &place,
                    format!("{wrong}: only for a server with a command"),
                ));
            }
            McpTransport::Http {
                url: super::url("url", Some(url))?.unwrap_or_default(),
                headers: headers(written.headers, secrets)?,
                allow_private: written.allow_private.is_some_and(Spanned::into_inner),
            }
        }
        (None, Some(command)) => {
            let place = command.clone();
            let given = [
                ("headers", !written.headers.is_empty()),
                ("allow_private", written.allow_private.is_some()),
            ];
            if let Some(wrong) = misplaced(&given) {
                return Err(Fault::at(
                    &place,
                    format!("{wrong}: only for a server with a url"),
                ));
            }
            McpTransport::Stdio {
                command: text("command", Some(command), WORD_CHARS)?.unwrap_or_default(),
                args: arguments(written.args.unwrap_or_default())?,
                env: referred("env", written.env, is_variable, secrets)?,
            }
        }
        (Some(_), Some(command)) => {
            return Err(Fault::at(
                &command,
                "command: a server has a url or a command, not both",
            ));
        }
        (None, None) => return Err(Fault::at(&written.name, "a server needs a url or a command")),
    };
    let tools = written.tools.map(|tools| names("tools", tools)).transpose()?;
    let seconds = |name, value, most, default| {
        number(name, value, 1..=most).map(|value| Duration::from_secs(value.unwrap_or(default)))
    };
    Ok(McpServer {
        name: written.name.into_inner(),
        transport,
        idempotent: chosen_names("idempotent", written.idempotent, tools.as_deref())?,
        approve: approval_policy(written.approve, tools.as_deref())?,
        tools,
        timeout: seconds("timeout_seconds", written.timeout_seconds, 3600, 60)?,
        connect_timeout: seconds("connect_timeout_seconds", written.connect_timeout_seconds, 60, 10)?,
        max_concurrent_calls: number("max_concurrent_calls", written.max_concurrent_calls, 1..=1000)?
            .map_or(32, usize::from),
        max_result_bytes: bytes("max_result_bytes", written.max_result_bytes, 64 * 1024)?,
        max_tools: number("max_tools", written.max_tools, 1..=256)?.map_or(64, usize::from),
        max_schema_bytes: bytes("max_schema_bytes", written.max_schema_bytes, 16 * 1024)?,
    })
}

fn check_name(name: &Spanned<String>) -> Result<(), Fault> {
    let is_plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
    let text = name.get_ref();
    if NAME_CHARS.contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(());
    }
    Err(Fault::at(
        name,
        "name: a server's name must have 1 to 24 characters of a-z, 0-9 and -",
    ))
}

/// The first of these members that is present.
fn misplaced<'a>(given: &[(&'a str, bool)]) -> Option<&'a str> {
    given
        .iter()
        .find(|(_, is_given)| *is_given)
        .map(|(name, _)| *name)
}

fn bytes(name: &str, value: Option<Spanned<u32>>, default: usize) -> Result<usize, Fault> {
    let value = number(name, value, 1024..=256 * 1024)?;
    Ok(value.map_or(default, |bytes| bytes as usize))
}

fn arguments(written: Vec<Spanned<String>>) -> Result<Vec<String>, Fault> {
    let mut arguments = Vec::with_capacity(written.len());
    for argument in written {
        if argument.get_ref().contains('\0') || arguments.len() == MAX_NAMES {
            let what = format!("args: at most {MAX_NAMES}, without U+0000");
            return Err(Fault::at(&argument, what));
        }
        arguments.push(argument.into_inner());
    }
    Ok(arguments)
}

fn names(name: &str, written: Vec<Spanned<String>>) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = Vec::with_capacity(written.len());
    for tool in written {
        if names.len() == MAX_NAMES {
            return Err(Fault::at(&tool, format!("{name}: at most {MAX_NAMES}")));
        }
        if names.contains(tool.get_ref()) {
            return Err(Fault::at(&tool, format!("{name}: listed twice")));
        }
        names.extend(text(name, Some(tool), 1..=128)?);
    }
    Ok(names)
}

/// Validates names that must also be in the server's `tools`, if it has that list.
fn chosen_names(
    name: &str,
    written: Option<Vec<Spanned<String>>>,
    taken: Option<&[String]>,
) -> Result<Vec<String>, Fault> {
    let written = written.unwrap_or_default();
    if let Some(taken) = taken
        && let Some(unknown) = written.iter().find(|tool| !taken.contains(tool.get_ref()))
    {
        return Err(Fault::at(unknown, format!("{name}: not in tools")));
    }
    names(name, written)
}

fn approval_policy(
    written: Option<Spanned<WrittenPolicy>>,
    taken: Option<&[String]>,
) -> Result<ApprovalPolicy, Fault> {
    let Some(written) = written else {
        return Ok(ApprovalPolicy::Never);
    };
    match written.get_ref() {
        WrittenPolicy::Word(word) => match word.as_str() {
            "never" => Ok(ApprovalPolicy::Never),
            "destructive" => Ok(ApprovalPolicy::Destructive),
            "always" => Ok(ApprovalPolicy::Always),
            _ => {
                let what = "approve: must be \"never\", \"destructive\", \"always\" or a list of tools";
                Err(Fault::at(&written, what))
            }
        },
        WrittenPolicy::Tools(tools) => {
            let is_taken = |tool: &String| taken.is_none_or(|taken| taken.contains(tool));
            if tools.len() > MAX_NAMES || !tools.iter().all(is_taken) {
                let what = format!("approve: at most {MAX_NAMES} tools, all of them in tools");
                return Err(Fault::at(&written, what));
            }
            Ok(ApprovalPolicy::Of(tools.clone()))
        }
    }
}

fn referred(
    name: &str,
    written: BTreeMap<Spanned<String>, Spanned<Reference>>,
    is_name: fn(&str) -> bool,
    secrets: Secrets,
) -> Result<Vec<(String, Secret)>, Fault> {
    let mut referred = Vec::with_capacity(written.len());
    for (key, reference) in written {
        if !is_name(key.get_ref()) {
            return Err(Fault::at(&key, format!("{name}: invalid name")));
        }
        let secret = secret(&format!("{name}.{}", key.get_ref()), Some(reference), secrets)?;
        referred.extend(secret.map(|secret| (key.into_inner(), secret)));
    }
    Ok(referred)
}

/// The headers of requests, with values from the environment.
pub(super) fn headers(
    written: BTreeMap<Spanned<String>, Spanned<Reference>>,
    secrets: Secrets,
) -> Result<Vec<(String, Secret)>, Fault> {
    referred("headers", written, is_header, secrets)
}

/// Whether a name is a token of RFC 9110.
fn is_header(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 128 && name.bytes().all(is_token)
}

fn is_variable(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.len() <= 128 && name.bytes().all(is_plain)
}

/// Whether an agent's list of tools can contain this: `server.*`, or `server.tool` of a used tool.
pub(super) fn can_choose(chosen: &str, servers: &[McpServer]) -> bool {
    let Some((server, tool)) = chosen.split_once(CHOICE_SEPARATOR) else {
        return false;
    };
    let of_that_name = servers.iter().find(|known| known.name == server);
    of_that_name.is_some_and(|server| tool == ALL_TOOLS || (!tool.is_empty() && server.takes(tool)))
}

#[cfg(test)]
mod tests {
    use super::super::{read, tests::fault};
    use super::*;

    fn servers(text: &str) -> Vec<McpServer> {
        read(text, &["add_task"], Secrets::Read).unwrap().servers
    }

    #[test]
    fn every_member_of_a_server_is_read() {
        let found = servers(
            r#"
            [[mcp_servers]]
            name = "files"
            url = "https://files.example.com/mcp"
            headers = { Authorization = { env = "PATH" } }
            tools = ["read", "write"]
            idempotent = ["write"]
            approve = ["write"]
            timeout_seconds = 5
            connect_timeout_seconds = 2
            allow_private = true
            max_concurrent_calls = 3
            max_result_bytes = 2048
            max_tools = 7
            max_schema_bytes = 1024
            [[mcp_servers]]
            name = "notes"
            command = "notes-server"
            args = ["--all", ""]
            env = { HOME = { env = "PATH" } }
            "#,
        );
        let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
        assert_eq!(
            found,
            [
                McpServer {
                    name: "files".to_owned(),
                    transport: McpTransport::Http {
                        url: "https://files.example.com/mcp".to_owned(),
                        headers: vec![("Authorization".to_owned(), Secret::new(path.clone()))],
                        allow_private: true,
                    },
                    tools: Some(vec!["read".to_owned(), "write".to_owned()]),
                    idempotent: vec!["write".to_owned()],
                    approve: ApprovalPolicy::Of(vec!["write".to_owned()]),
                    timeout: Duration::from_secs(5),
                    connect_timeout: Duration::from_secs(2),
                    max_concurrent_calls: 3,
                    max_result_bytes: 2048,
                    max_tools: 7,
                    max_schema_bytes: 1024,
                },
                McpServer {
                    name: "notes".to_owned(),
                    transport: McpTransport::Stdio {
                        command: "notes-server".to_owned(),
                        args: vec!["--all".to_owned(), String::new()],
                        env: vec![("HOME".to_owned(), Secret::new(path))],
                    },
                    tools: None,
                    idempotent: Vec::new(),
                    approve: ApprovalPolicy::Never,
                    timeout: Duration::from_mins(1),
                    connect_timeout: Duration::from_secs(10),
                    max_concurrent_calls: 32,
                    max_result_bytes: 65_536,
                    max_tools: 64,
                    max_schema_bytes: 16_384,
                },
            ]
        );
    }

    #[test]
    fn a_broken_rule_is_reported_with_its_line() {
        let head = "[[mcp_servers]]\nname = \"files\"\n";
        let cases = [
            ("url = \"https://x\"\ncolour = 1", "4: unknown field `colour`"),
            ("", "2: a server needs a url or a command"),
            ("url = \"ftp://x\"", "3: url: must be an http"),
            (
                "url = \"https://x\"\ncommand = \"y\"",
                "4: command: a server has a url or a command",
            ),
            (
                "url = \"https://x\"\nargs = []",
                "3: args: only for a server with a command",
            ),
            (
                "command = \"x\"\nallow_private = true",
                "3: allow_private: only for a server with a url",
            ),
            ("command = \" \"", "3: command: must have 1 to"),
            (
                "command = \"x\"\ntimeout_seconds = 0",
                "4: timeout_seconds: must be 1 to 3600",
            ),
            (
                "command = \"x\"\nmax_tools = 1000",
                "4: max_tools: must be 1 to 256",
            ),
            (
                "command = \"x\"\nmax_result_bytes = 1",
                "4: max_result_bytes: must be 1024 to",
            ),
            (
                "command = \"x\"\ntools = [\"a\", \"a\"]",
                "4: tools: listed twice",
            ),
            (
                "command = \"x\"\ntools = [\"a\"]\nidempotent = [\"b\"]",
                "5: idempotent: not in tools",
            ),
            (
                "url = \"https://x\"\nheaders = { \"a b\" = { env = \"PATH\" } }",
                "4: headers: invalid name",
            ),
            (
                "url = \"https://x\"\nheaders = { A = { env = \"ERRAND_NO_SUCH\" } }",
                "4: headers.A: the variable",
            ),
            ("command = \"x\"\napprove = \"perhaps\"", "4: approve: must be"),
            ("command = \"x\"\napprove = 7", "4: approve: must be"),
            (
                "command = \"x\"\ntools = [\"a\"]\napprove = [\"b\"]",
                "5: approve: at most 256",
            ),
            (
                "command = \"x\"\n[[mcp_servers]]\nname = \"files\"\ncommand = \"y\"",
                "5: name: another server",
            ),
            (
                "command = \"x\"\n[agents.a]\ntools = [\"files.*\", \"unknown.*\"]",
                "5: tools: no such tool",
            ),
            (
                "command = \"x\"\ntools = [\"r\"]\n[agents.a]\ntools = [\"files.w\"]",
                "6: tools: no such tool",
            ),
        ];
        for (text, expected) in cases {
            let fault = fault(&format!("{head}{text}"));
            assert!(fault.starts_with(expected), "{text}: {fault}");
            assert!(!fault.contains('\n'), "{fault}");
        }
        for name in ["", "A", "a_b", "a.b", "a-name-of-25-characters-ab"] {
            let fault = fault(&format!("[[mcp_servers]]\nname = \"{name}\"\ncommand = \"x\""));
            assert!(
                fault.starts_with("2: name: a server's name must have"),
                "{name}: {fault}"
            );
        }
    }

    #[test]
    fn a_header_in_plain_text_is_rejected_without_repeating_it() {
        let text = "[[mcp_servers]]\nname = \"a\"\nurl = \"https://x\"\nheaders = { A = \"hunter2\" }";
        let fault = fault(text);
        assert!(fault.starts_with("4: must be { env"), "{fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
    }

    #[test]
    fn an_agent_selects_all_or_single_tools_of_a_server() {
        let text = "[[mcp_servers]]\nname = \"files\"\ncommand = \"x\"\ntools = [\"read\", \"a.b\"]\n\
                    [agents.a]\ntools = [\"add_task\", \"files.*\"]\n\
                    [agents.b]\ntools = [\"files.read\", \"files.a.b\"]";
        let agents = read(text, &["add_task"], Secrets::Leave).unwrap();
        let chosen = |name: &str| agents.named[name].tools.clone().unwrap();
        assert_eq!(chosen("a"), ["add_task", "files.*"]);
        assert_eq!(chosen("b"), ["files.read", "files.a.b"]);
    }
}
