//! Logs: readable text on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, registry, registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// Log format. Default: `text` on a terminal, else `json`.
    #[arg(long, env = "LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// Log filter, in the syntax of tracing's `EnvFilter`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log_filter: EnvFilter,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Another consumer of spans besides the log: the traces.
pub type Extra = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging to standard error for the whole process. A second call has no effect. `extra` is not subject to the log
/// filter.
pub fn init(settings: LogSettings, extra: Option<Extra>) {
    let format = settings.log_format.unwrap_or(if std::io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let filter = without_contents(settings.log_filter);
    let started = match extra {
        // As a global filter it also avoids creating spans that are not logged.
        None => registry().with(filter).with(lines(format)).try_init(),
        Some(extra) => registry()
            .with(extra)
            .with(lines(format).with_filter(filter))
            .try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was already started");
    }
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    match format {
        LogFormat::Text => fmt::layer().with_writer(std::io::stderr).boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_writer(std::io::stderr)
            .boxed(),
    }
}

/// Silences rmcp below `error`: it logs four lines per request, some with the contents of requests and responses.
fn without_contents(filter: EnvFilter) -> EnvFilter {
    match "rmcp=error".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// The texts of an error and of its causes, outermost first, separated by colons: `Display` shows only the outermost one.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
