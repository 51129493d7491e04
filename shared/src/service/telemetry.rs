//! Logs: readable text on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, registry, registry::LookupSpan,
    util::SubscriberInitExt,
};

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

/// What else is to hear of spans, beside the log: traces.
pub type Extra = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging to standard error for the whole process; a second call changes nothing. What else hears of spans has a
/// filter of its own.
pub fn init(settings: LogSettings, extra: Option<Extra>) {
    let format = settings.log_format.unwrap_or(if std::io::stderr().is_terminal() {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let filter = without_contents(settings.log_filter);
    let started = match extra {
        // The filter stands before all: what is not logged is not made.
        None => registry().with(filter).with(lines(format)).try_init(),
        Some(extra) => registry()
            .with(extra)
            .with(lines(format).with_filter(filter))
            .try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging had been started already");
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

/// Keeps out what rmcp logs of each request: four lines at best, with what was asked and answered at worst.
fn without_contents(filter: EnvFilter) -> EnvFilter {
    match "rmcp=error".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}
