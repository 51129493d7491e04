//! Reads settings from the command line, the environment and `.env`. A bad setting ends the program with one line that names it.

mod secret;
mod stores;

pub use secret::Secret;
pub use stores::{RedisSettings, StoreSettings};

use std::{collections::BTreeSet, ffi::OsString};

use clap::{
    Arg, Command, Parser,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Exit code for a bad setting.
pub const BAD_SETTING: u8 = 2;

/// Parses a program's settings from its command line after reading `.env` (which never overrides the environment).
///
/// # Errors
/// The text to print and the exit code: 0 for help and version, [`BAD_SETTING`] for a bad setting. The text of a bad setting is
/// one line that names the setting and never contains its value.
pub fn parse<P: Parser>() -> Result<P, Exit> {
    parse_from(std::env::args_os().collect())
}

/// As [`parse`], with the command line given.
///
/// # Errors
/// As [`parse`].
pub fn parse_from<P: Parser>(arguments: Vec<OsString>) -> Result<P, Exit> {
    match dotenvy::dotenv() {
        Err(error) if !error.not_found() => {
            return Err(Exit {
                code: BAD_SETTING,
                text: ".env: cannot be read as NAME=value lines\n".to_owned(),
            });
        }
        _ => {}
    }
    let matches = without_empty(P::command()).try_get_matches_from(arguments);
    matches
        .and_then(|matches| P::from_arg_matches(&matches))
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidUtf8 => Exit::not_utf8(&P::command()),
            _ => Exit::from_clap(&error),
        })
}

/// The names of environment variables that are not valid UTF-8. clap does not report which one it was.
fn not_utf8(command: &Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter_map(Arg::get_env)
        .filter(|name| std::env::var_os(name).is_some_and(|value| value.to_str().is_none()))
        .map(|name| name.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(not_utf8)).collect()
}

/// Treats an empty variable as unset, such as `NAME=` in a `.env` file.
fn without_empty(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_empty = argument
                .get_env()
                .is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
            if is_empty {
                argument.env(Resettable::Reset)
            } else {
                argument
            }
        })
        .mut_subcommands(without_empty)
}

/// Why a program exits before it starts.
#[derive(Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
    /// The text to print: to standard output if the code is 0, else to standard error.
    pub text: String,
}

impl Exit {
    /// Reports a bad setting by the name of its environment variable.
    pub fn bad_setting(name: &str, reason: impl std::fmt::Display) -> Self {
        Self {
            code: BAD_SETTING,
            text: format!("error: {name}: {reason}\n"),
        }
    }

    fn not_utf8(command: &Command) -> Self {
        let mut names: Vec<_> = not_utf8(command).into_iter().collect();
        if names.is_empty() {
            names.push("the command line".to_owned());
        }
        Self::bad_setting(&names.join(", "), "must be UTF-8")
    }

    fn from_clap(error: &clap::Error) -> Self {
        if !error.use_stderr() {
            return Self {
                code: 0,
                text: error.to_string(),
            };
        }
        let argument = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(name)) => name.clone(),
            Some(ContextValue::Strings(names)) => names.join(", "),
            _ => String::new(),
        };
        // clap's own text contains the value, which may be a secret.
        let text = match error.kind() {
            ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
                let reason = std::error::Error::source(error)
                    .map_or_else(|| "not a valid value".to_owned(), ToString::to_string);
                let reason = without_value(&reason, error.get(ContextKind::InvalidValue));
                format!("error: {}: {reason}\n", setting_name(&argument))
            }
            ErrorKind::MissingRequiredArgument => format!("error: {}: required\n", setting_name(&argument)),
            _ => error.to_string().lines().next().unwrap_or_default().to_owned() + "\n",
        };
        Self {
            code: BAD_SETTING,
            text,
        }
    }

    /// Prints the text and returns the exit code.
    pub fn report(&self) -> std::process::ExitCode {
        use std::io::Write;
        let written = if self.code == 0 {
            std::io::stdout().write_all(self.text.as_bytes())
        } else {
            std::io::stderr().write_all(self.text.as_bytes())
        };
        match written {
            Ok(()) => self.code.into(),
            Err(_) => 1.into(),
        }
    }
}

/// Removes the value with which clap's range check starts its message.
fn without_value<'a>(reason: &'a str, value: Option<&ContextValue>) -> &'a str {
    match value {
        Some(ContextValue::String(value)) if !value.is_empty() => reason
            .strip_prefix(value.as_str())
            .map_or(reason, str::trim_start),
        _ => reason,
    }
}

/// Converts `--worker-concurrency <N>` to `WORKER_CONCURRENCY`, the name that operators use.
fn setting_name(argument: &str) -> String {
    argument
        .split([' ', '='])
        .next()
        .unwrap_or_default()
        .trim_start_matches('-')
        .replace('-', "_")
        .to_uppercase()
}

/// Parses a positive number of milliseconds.
///
/// # Errors
/// If it is not a whole number above zero.
pub fn milliseconds(text: &str) -> Result<std::time::Duration, String> {
    positive(text).map(std::time::Duration::from_millis)
}

/// Parses a positive number of seconds.
///
/// # Errors
/// If it is not a whole number above zero.
pub fn seconds(text: &str) -> Result<std::time::Duration, String> {
    positive(text).map(std::time::Duration::from_secs)
}

/// A hundred years in milliseconds, so that sums of durations do not overflow.
const LONGEST: u64 = 100 * 366 * 86_400 * 1000;

fn positive(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if (1..=LONGEST).contains(&number) => Ok(number),
        _ => Err("must be a whole number above zero".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[arg(long, env = "ERRAND_TEST_BEAT_MS", value_parser = milliseconds)]
        beat_ms: std::time::Duration,
    }

    fn exit_of(arguments: &[&str]) -> Exit {
        Exit::from_clap(&Program::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn a_bad_setting_is_named_without_its_value() {
        let exit = exit_of(&["program", "--beat-ms", "s3cret"]);
        assert_eq!(exit.code, BAD_SETTING);
        assert_eq!(exit.text, "error: BEAT_MS: must be a whole number above zero\n");
    }

    #[test]
    fn a_missing_setting_is_named() {
        assert_eq!(exit_of(&["program"]).text, "error: BEAT_MS: required\n");
    }

    #[test]
    fn help_is_not_an_error() {
        assert_eq!(exit_of(&["program", "--help"]).code, 0);
    }
}
