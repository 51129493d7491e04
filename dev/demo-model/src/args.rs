//! Settings: command-line flags and environment variables.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use errand_fake_model::{Latency, Options, Script};
use thiserror::Error;

/// The demo model: a Chat Completions server that answers to-do chats by rules, or any request by a script.
#[derive(Debug, Parser)]
#[command(name = "errand-model", version)]
pub(crate) struct Args {
    /// Address to listen on.
    #[arg(long, env = "MODEL_LISTEN_ADDR", default_value = "127.0.0.1:8088")]
    listen: SocketAddr,

    /// Fixed delay before each answer, in milliseconds.
    #[arg(long, value_name = "MS", conflicts_with = "latency")]
    latency_ms: Option<u32>,

    /// Random delay before each answer: fixed:50, uniform:20..80, exp:MEAN or lognormal:MEDIAN,SIGMA, in milliseconds.
    #[arg(long, value_name = "DISTRIBUTION")]
    latency: Option<Latency>,

    /// Additional delay per token, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    token_delay_ms: u32,

    /// Seed that makes IDs, delays and random choices reproducible.
    #[arg(long)]
    seed: Option<u64>,

    /// JSON file with scripted answers.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Serve /__control/script and /__control/requests.
    #[arg(long)]
    control: bool,

    /// Log format. Default: text on a terminal, otherwise JSON.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// Number of requests to keep for /__control/requests.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    record: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// An invalid setting.
#[derive(Debug, Error)]
pub(crate) enum InvalidSetting {
    #[error("--script: cannot read {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("--script: invalid script {0}: {1}")]
    InvalidScript(PathBuf, serde_json::Error),
}

impl Args {
    pub(crate) fn options(self) -> Result<Options, InvalidSetting> {
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
            brain: errand_model::answer,
            record: if self.control { self.record } else { 0 },
            control: self.control,
            ..Options::default()
        })
    }
}

fn load(path: PathBuf) -> Result<Script, InvalidSetting> {
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) => return Err(InvalidSetting::Unreadable(path, error)),
    };
    serde_json::from_slice(&text).map_err(|error| InvalidSetting::InvalidScript(path, error))
}
