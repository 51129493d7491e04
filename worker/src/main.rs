//! The `errand-worker` program.

use std::process::ExitCode;

use errand_shared::service::traces::Traces;
use errand_shared::service::{config, lifecycle::Lifecycle, open_files, telemetry};
use errand_worker::{StartError, Worker, WorkerSettings};

/// Measured against the system allocator in `docs/BENCHMARKS.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Open files in addition to the connections to the model: database, Redis, logs, listeners.
const OTHER_FILES: u64 = 200;

fn main() -> ExitCode {
    let settings: WorkerSettings = match config::parse() {
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
