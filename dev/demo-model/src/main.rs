//! The `errand-model` program: reads its settings, serves until it is told to stop.

mod args;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use args::{Args, LogFormat};
use clap::Parser as _;
use errand_model::Server;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long answers under way may take after a signal.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    let format = args.log_format;
    let options = match args.options() {
        Ok(options) => options,
        Err(bad) => return refuse(&format!("error: {bad}")),
    };
    start_log(format);
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the model server cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Starts the log, on stderr.
fn start_log(format: Option<LogFormat>) {
    let terminal = io::stderr().is_terminal();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(terminal);
    match format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    }) {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Help and version in full; of a bad setting only the line that names it.
fn explain(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.to_string();
        return refuse(text.lines().next().unwrap_or("error: bad settings"));
    }
    match error.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One line that names the bad setting, and exit code 2.
fn refuse(line: &str) -> ExitCode {
    use io::Write as _;
    // Nobody to tell when stderr is gone; the exit code still says it.
    drop(writeln!(io::stderr(), "{line}"));
    ExitCode::from(2)
}

async fn run(options: errand_model::Options) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::start(options).await?;
    tracing::info!(address = %server.address(), base_url = %server.base_url(), "the model server listens");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("the model server stops");
    server.shutdown_within(GRACE).await;
    Ok(())
}
