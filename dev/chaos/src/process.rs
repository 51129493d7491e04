//! One of Errand's programs as a process that is started again whenever it ends, as an init system would.

use std::{
    fs::OpenOptions,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, AtomicU32, Ordering},
    },
    time::Duration,
};

use errand_shared::{
    Uuid,
    service::{failpoints::Failpoint, lifecycle::Lifecycle},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::Result;

/// How long after its end a process is started again.
const RESTART_AFTER: Duration = Duration::from_millis(100);
/// How long a process may take to end after SIGTERM, as in compose and Kubernetes.
const STOP_WITHIN: Duration = Duration::from_secs(35);

/// How to start a program.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Its name in reports.
    pub(crate) name: String,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its settings.
    pub(crate) env: Vec<(String, String)>,
    /// The folder of its log and of the file that arms a kill point.
    pub(crate) folder: PathBuf,
}

/// A program that is kept running.
#[derive(Clone, Debug)]
pub(crate) struct Program(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: Spec,
    /// The process's id; 0 while there is none.
    pid: AtomicI32,
    starts: AtomicU32,
    wanted: watch::Sender<bool>,
    /// Ends that nobody has caused.
    strange_ends: Mutex<Vec<String>>,
}

impl Program {
    /// Starts the program and keeps it running until the harness stops.
    pub(crate) fn keep(spec: Spec, lifecycle: &Lifecycle) -> Self {
        let program = Self(Arc::new(Inner {
            spec,
            pid: AtomicI32::new(0),
            starts: AtomicU32::new(0),
            wanted: watch::Sender::new(true),
            strange_ends: Mutex::default(),
        }));
        lifecycle.spawn(supervise(program.clone(), lifecycle.clone()));
        program
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.spec.name
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> u32 {
        self.0.starts.load(Ordering::SeqCst)
    }

    /// Sends the process a signal, if there is one.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.0.pid.load(Ordering::SeqCst);
        if pid > 0 {
            // It may have ended at this moment, which is what kill points do.
            kill(Pid::from_raw(pid), signal).ok();
        }
    }

    /// Kills the process and starts none until [`Self::raise`].
    pub(crate) fn hold_down(&self) {
        self.0.wanted.send_replace(false);
        self.signal(Signal::SIGKILL);
    }

    /// Starts the process again.
    pub(crate) fn raise(&self) {
        self.0.wanted.send_replace(true);
    }

    /// Arms a kill point of the process, or of the one that follows it.
    pub(crate) fn arm(&self, point: Failpoint, stop: bool) -> Result<()> {
        let order = format!("{}{}", point.name(), if stop { " stop" } else { "" });
        // The process must not read half an order.
        let draft = self.arm_file().with_extension("draft");
        std::fs::write(&draft, order)?;
        Ok(std::fs::rename(&draft, self.arm_file())?)
    }

    /// Disarms; true if the point had not been reached.
    pub(crate) fn disarm(&self) -> bool {
        std::fs::remove_file(self.arm_file()).is_ok()
    }

    /// Whether the armed point has been reached.
    pub(crate) fn has_obeyed(&self) -> bool {
        !self.arm_file().exists()
    }

    /// The ends that no fault explains: neither SIGKILL nor exit code 0.
    pub(crate) fn strange_ends(&self) -> Vec<String> {
        self.0
            .strange_ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read(self.log_file()).map_or_else(
            |_| String::new(),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    /// The id under which the worker that was started last holds its leases.
    pub(crate) fn worker_id(&self) -> Option<Uuid> {
        let log = self.log();
        let line = log
            .lines()
            .rev()
            .find(|line| line.contains("the worker starts"))?;
        let line: Value = serde_json::from_str(line).ok()?;
        line.get("worker.id")?.as_str()?.parse().ok()
    }

    fn log_file(&self) -> PathBuf {
        self.0.spec.folder.join(format!("{}.log", self.name()))
    }

    fn arm_file(&self) -> PathBuf {
        self.0.spec.folder.join(format!("{}.arm", self.name()))
    }

    fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let Spec {
            program, env, folder, ..
        } = &self.0.spec;
        let child = Command::new(program)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("ERRAND_FAILPOINT", self.arm_file())
            // No `.env` of a developer is read.
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        self.0.pid.store(pid, Ordering::SeqCst);
        self.0.starts.fetch_add(1, Ordering::SeqCst);
        Ok(child)
    }

    fn ended(&self, status: ExitStatus) {
        self.0.pid.store(0, Ordering::SeqCst);
        if status.code() != Some(0) && status.signal() != Some(Signal::SIGKILL as i32) {
            self.complain(format!("{} ended: {status}", self.name()));
        }
    }

    fn complain(&self, complaint: String) {
        let mut ends = self.0.strange_ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.push(complaint);
    }
}

async fn supervise(program: Program, lifecycle: Lifecycle) {
    let mut wanted = program.0.wanted.subscribe();
    let stop = lifecycle.token();
    while !stop.is_cancelled() {
        if !matches!(
            stop.run_until_cancelled(wanted.wait_for(|wanted| *wanted)).await,
            Some(Ok(_))
        ) {
            return;
        }
        let mut child = match program.spawn() {
            Ok(child) => child,
            Err(error) => {
                return program.complain(format!("{} could not be started: {error}", program.name()));
            }
        };
        if let Some(ended) = stop.run_until_cancelled(child.wait()).await {
            if let Ok(status) = ended {
                program.ended(status);
            }
            stop.run_until_cancelled(tokio::time::sleep(RESTART_AFTER)).await;
            continue;
        }
        program.signal(Signal::SIGTERM);
        program.signal(Signal::SIGCONT);
        match timeout(STOP_WITHIN, child.wait()).await {
            Ok(Ok(status)) => program.ended(status),
            Ok(Err(_)) => {}
            Err(_elapsed) => {
                program.complain(format!("{} did not end within 35 s of SIGTERM", program.name()));
            }
        }
    }
}
