//! The `errand-model` program: reads its settings and serves the demo model until SIGTERM or SIGINT.

mod args;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use args::{Args, LogFormat};
use clap::Parser as _;
use errand_fake_model::{Options, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Time for requests in flight after a signal.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return exit_after_parsing(&error),
    };
    let format = args.log_format;
    let options = match args.options() {
        Ok(options) => options,
        Err(error) => return invalid_setting(&format!("error: {error}")),
    };
    start_log(format);
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot run the model server");
            ExitCode::FAILURE
        }
    }
}

/// Initializes logging to stderr.
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

/// Prints help or version, or for an invalid setting only the line that names it.
fn exit_after_parsing(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.to_string();
        return invalid_setting(text.lines().next().unwrap_or("error: invalid settings"));
    }
    match error.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints one line that names the invalid setting. The exit code is 2.
fn invalid_setting(line: &str) -> ExitCode {
    use io::Write as _;
    // If stderr is closed, the exit code still reports the error.
    drop(writeln!(io::stderr(), "{line}"));
    ExitCode::from(2)
}

async fn run(options: Options) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::start(options).await?;
    tracing::info!(address = %server.address(), base_url = %server.base_url(), "listening");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down");
    server.shutdown_within(SHUTDOWN_GRACE).await;
    Ok(())
}
