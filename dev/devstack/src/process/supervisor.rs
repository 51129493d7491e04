//! Keeps programs running: starts a program again when it exits, passes signals on, and stops all programs together.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::child::Process;
use super::restarts::Restarts;
use crate::error::{Error, Result};
use crate::programs::Program;

/// What happens when a program exits by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// The exit is an error.
    Never,
    /// The program is started again after this delay, however often it exits.
    Always(Duration),
    /// The program is started again after a delay that doubles with each exit. Too many exits in a short time are an
    /// error.
    Backoff,
}

/// A group of programs that are stopped together. Dropping it kills them.
#[derive(Debug)]
pub struct Supervisor {
    policy: RestartPolicy,
    stop_grace: Duration,
    report: fn(&str),
    tasks: JoinSet<Result<()>>,
    stop: CancellationToken,
}

impl Supervisor {
    /// An empty group. `stop_grace` is how long a program may take to stop before it is killed; `report` receives a
    /// message about each restart.
    pub fn new(policy: RestartPolicy, stop_grace: Duration, report: fn(&str)) -> Self {
        Self {
            policy,
            stop_grace,
            report,
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Starts a program and waits until it is ready.
    pub async fn start(&mut self, program: Program) -> Result<Supervised> {
        let mut process = program.spawn_first()?;
        program.wait_until_ready(&mut process).await?;
        Ok(self.supervise(program, process))
    }

    /// Starts a program without waiting until it is ready.
    pub fn launch(&mut self, program: Program) -> Result<Supervised> {
        let process = program.spawn_first()?;
        Ok(self.supervise(program, process))
    }

    fn supervise(&mut self, program: Program, process: Process) -> Supervised {
        let (signals, received) = mpsc::unbounded_channel();
        let handle = Supervised(Arc::new(Shared {
            name: program.name().to_owned(),
            log: program.log().to_owned(),
            signals,
            is_wanted: watch::Sender::new(true),
            history: Mutex::default(),
        }));
        let task = Task {
            program,
            shared: Arc::clone(&handle.0),
            signals: received,
            policy: self.policy,
            stop: self.stop.clone(),
            stop_grace: self.stop_grace,
            report: self.report,
        };
        task.shared.started(&process);
        self.tasks.spawn(task.run(process));
        handle
    }

    /// Waits until a program has failed for good: it cannot be started, or its policy forbids another start. Waits
    /// forever if there are no programs. Cancel-safe.
    pub async fn failed(&mut self) -> Error {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Err(error))) => return error,
                Some(_) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Stops all programs at once and waits until they have exited. Returns the first error of any of them.
    pub async fn stop(&mut self) -> Result<()> {
        self.stop.cancel();
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(ended) = ended {
                result = result.and(ended);
            }
        }
        result
    }
}

/// A program under supervision. Clones refer to the same program.
#[derive(Debug, Clone)]
pub struct Supervised(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    log: PathBuf,
    signals: mpsc::UnboundedSender<Signal>,
    is_wanted: watch::Sender<bool>,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    pid: Option<u32>,
    starts: u32,
    exits: Vec<ExitStatus>,
    errors: Vec<String>,
}

impl Supervised {
    /// The program's name in messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The program's log file.
    pub fn log(&self) -> &Path {
        &self.0.log
    }

    /// The process id; `None` while no process runs.
    pub fn pid(&self) -> Option<u32> {
        self.0.history().pid
    }

    /// How often the program has been started.
    pub fn starts(&self) -> u32 {
        self.0.history().starts
    }

    /// How the processes have exited, in order.
    pub fn exits(&self) -> Vec<ExitStatus> {
        self.0.history().exits.clone()
    }

    /// What went wrong besides exits: a start that failed, a stop that took too long.
    pub fn errors(&self) -> Vec<String> {
        self.0.history().errors.clone()
    }

    /// Sends the process a signal. Does nothing while no process runs.
    pub fn signal(&self, signal: Signal) {
        // The supervisor is gone only when the process is.
        self.0.signals.send(signal).ok();
    }

    /// Kills the process and starts no other until [`Self::release`].
    pub fn hold_down(&self) {
        self.0.is_wanted.send_replace(false);
        self.signal(Signal::SIGKILL);
    }

    /// Lets the program start again.
    pub fn release(&self) {
        self.0.is_wanted.send_replace(true);
    }
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self, process: &Process) {
        let mut history = self.history();
        history.pid = process.pid();
        history.starts += 1;
    }

    fn exited(&self, status: ExitStatus) {
        let mut history = self.history();
        history.pid = None;
        history.exits.push(status);
    }

    fn failed(&self, error: String) {
        let mut history = self.history();
        history.pid = None;
        history.errors.push(error);
    }
}

/// Owns a program's process, so that a signal never reaches another process that has got the same id.
struct Task {
    program: Program,
    shared: Arc<Shared>,
    signals: mpsc::UnboundedReceiver<Signal>,
    policy: RestartPolicy,
    stop: CancellationToken,
    stop_grace: Duration,
    report: fn(&str),
}

impl Task {
    async fn run(mut self, mut process: Process) -> Result<()> {
        let mut restarts = Restarts::default();
        let stop = self.stop.clone();
        loop {
            let status = tokio::select! {
                () = stop.cancelled() => return self.end(process).await,
                Some(signal) = self.signals.recv() => {
                    process.signal(signal)?;
                    continue;
                }
                status = process.wait() => status?,
            };
            self.shared.exited(status);
            let error = process.exit_error(status);
            let delay = match self.policy {
                RestartPolicy::Never => None,
                RestartPolicy::Always(delay) => Some(delay),
                RestartPolicy::Backoff => restarts.delay_after_exit(Instant::now()),
            };
            let Some(delay) = delay else {
                return Err(error);
            };
            (self.report)(&format!(
                "{error}\nStarting {} again in {:.1} s.",
                self.program.name(),
                delay.as_secs_f64()
            ));
            let mut is_wanted = self.shared.is_wanted.subscribe();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(delay) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = is_wanted.wait_for(|is_wanted| *is_wanted) => {}
            }
            // Signals to the process that has exited are not for the next one.
            while self.signals.try_recv().is_ok() {}
            process = match self.program.spawn() {
                Ok(process) => process,
                Err(error) => {
                    self.shared.failed(error.to_string());
                    return Err(error);
                }
            };
            self.shared.started(&process);
        }
    }

    async fn end(&self, mut process: Process) -> Result<()> {
        if let Some(status) = process.stop(self.stop_grace).await? {
            self.shared.exited(status);
        } else {
            let message = format!(
                "{} did not stop within {} s and was killed.",
                self.program.name(),
                self.stop_grace.as_secs()
            );
            (self.report)(&message);
            self.shared.failed(message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
