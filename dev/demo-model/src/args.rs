//! The program's settings: flags and environment.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use errand_model::{Latency, Options, Script};
use thiserror::Error;

/// The demo and simulated model: a Chat Completions server that answers by rules, or by script.
#[derive(Debug, Parser)]
#[command(name = "errand-model", version)]
pub(crate) struct Args {
    /// Where to listen.
    #[arg(long, env = "MODEL_LISTEN_ADDR", default_value = "127.0.0.1:8088")]
    listen: SocketAddr,

    /// How long each call takes, in milliseconds.
    #[arg(long, value_name = "MS", conflicts_with = "latency")]
    latency_ms: Option<u32>,

    /// How long calls take: fixed:50, uniform:20..80, exp:MEAN or lognormal:MEDIAN,SIGMA, in milliseconds.
    #[arg(long, value_name = "DISTRIBUTION")]
    latency: Option<Latency>,

    /// How long each piece of an answer takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    token_delay_ms: u32,

    /// Makes ids, latencies and mixes repeatable.
    #[arg(long)]
    seed: Option<u64>,

    /// A JSON file that says what answers which request.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Serve /__control/script and /__control/requests.
    #[arg(long)]
    control: bool,

    /// How the log is written; text on a terminal and JSON elsewhere, unless told.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// How many requests to keep for /__control/requests.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    record: usize,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A setting that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum BadSetting {
    #[error("--script: cannot read {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("--script: {0} is not a script: {1}")]
    NotAScript(PathBuf, serde_json::Error),
}

impl Args {
    /// The server's options.
    pub(crate) fn options(self) -> Result<Options, BadSetting> {
        let script = match self.script {
            Some(path) => load(path)?,
            None => Script::new(),
        };
        let fixed = self.latency_ms.map(|millis| Latency::Fixed(f64::from(millis)));
        Ok(Options {
            listen: self.listen,
            latency: self.latency.or(fixed).unwrap_or_default(),
            token_delay: Duration::from_millis(self.token_delay_ms.into()),
            seed: self.seed,
            script,
            record: if self.control { self.record } else { 0 },
            control: self.control,
            ..Options::default()
        })
    }
}

fn load(path: PathBuf) -> Result<Script, BadSetting> {
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) => return Err(BadSetting::Unreadable(path, error)),
    };
    serde_json::from_slice(&text).map_err(|error| BadSetting::NotAScript(path, error))
}
