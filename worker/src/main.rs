//! The `errand-worker` program.

use std::{ffi::OsString, io::Write, process::ExitCode};

use errand_shared::service::traces::Traces;
use errand_shared::service::{config, lifecycle::Lifecycle, open_files, runtime::RuntimeSettings, telemetry};
use errand_worker::{CheckModelSettings, StartError, Worker, WorkerSettings};

/// Measured against the system allocator in `docs/BENCHMARKS.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Open files in addition to the connections to the model: database, Redis, logs, listeners.
const OTHER_FILES: u64 = 200;

/// The subcommand that checks the model server.
const CHECK_MODEL: &str = "check-model";

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == CHECK_MODEL) {
        arguments.remove(1);
        return check_model(arguments);
    }
    let settings: WorkerSettings = match config::parse_from(arguments) {
        Ok(settings) => settings,
        Err(exit) => return exit.report(),
    };
    let runtime = settings.runtime;
    runtime
        .run(work(settings))
        .unwrap_or_else(|error| config::Exit::bad_setting("RUNTIME_THREADS", error).report())
}

async fn work(settings: WorkerSettings) -> ExitCode {
    let (traces, extra) = match Traces::start(&settings.traces, "errand-worker", env!("CARGO_PKG_VERSION")) {
        Ok(started) => started,
        Err(exit) => return exit.report(),
    };
    telemetry::init(settings.log.clone(), extra);
    let files = u64::from(settings.worker_concurrency) + OTHER_FILES;
    let lifecycle = Lifecycle::new();
    if let Err(error) = lifecycle.stop_on_signals() {
        tracing::error!(%error, "signal handlers could not be installed");
        return ExitCode::FAILURE;
    }
    let worker = match Worker::start(settings).await {
        Ok(worker) => worker,
        Err(StartError::Setting(exit)) => return exit.report(),
        Err(StartError::Listen(address, error)) => {
            return config::Exit::bad_setting("ADMIN_LISTEN_ADDR", format!("{address}: {error}")).report();
        }
    };
    // This may log a warning. An invalid setting must be reported alone, so it comes after the settings are checked.
    open_files::raise(files);
    worker.run(lifecycle).await;
    traces.end().await;
    ExitCode::SUCCESS
}

/// Prints the report to standard output, and what to change to standard error.
fn check_model(arguments: Vec<OsString>) -> ExitCode {
    let settings: CheckModelSettings = match config::parse_from(arguments) {
        Ok(settings) => settings,
        Err(exit) => return exit.report(),
    };
    let runtime = RuntimeSettings { runtime_threads: 1 };
    let report = match runtime.run(async move { errand_worker::check_model(&settings).await }) {
        Ok(Ok(report)) => report,
        Ok(Err(exit)) => return exit.report(),
        Err(error) => return config::Exit::bad_setting("RUNTIME_THREADS", error).report(),
    };
    let is_printed = std::io::stdout().write_all(report.table.as_bytes()).is_ok();
    match report.failure {
        Some(failure) => config::Exit {
            code: 1,
            text: format!("error: {failure}\n"),
        }
        .report(),
        None if is_printed => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}
