//! Logs: readable text on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How logs are written.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// Form of the log; text on a terminal, else json.
    #[arg(long, env = "LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged, in the syntax of tracing's `EnvFilter`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log_filter: EnvFilter,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// For a machine, one object a line.
    Json,
}

/// Starts logging to standard error for the whole process; a second call changes nothing.
pub fn init(settings: LogSettings) {
    let format = settings.log_format.unwrap_or(if std::io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let registry = tracing_subscriber::registry().with(without_contents(settings.log_filter));
    let started = match format {
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging had been started already");
    }
}

/// Keeps out what rmcp logs of each request: four lines at best, with what was asked and answered at worst.
fn without_contents(filter: EnvFilter) -> EnvFilter {
    match "rmcp=error".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}
