//! One child process: its output goes to a log file, and signals stop it.
//!
//! It has its own process group, so that Ctrl-C in the terminal reaches only this process. Signals are sent only while
//! the child has not been waited for, so never to another process that has got the same id.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command as StdCommand, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::error::{Error, Result};
use crate::files::owner::Owner;
use crate::files::{logs, pid_file};

/// How long a dropped process may take to stop before it is killed.
const DROP_GRACE: Duration = Duration::from_secs(3);

/// What a process inherits from the environment of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Environment {
    /// All variables except those whose names start with one of these prefixes.
    AllExcept(&'static [&'static str]),
    /// No variables.
    Nothing,
}

/// How to start a process.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The name in messages.
    pub(crate) name: String,
    /// The path of the program.
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Environment variables. The last value of a name counts.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) inherited: Environment,
    /// The working directory.
    pub(crate) dir: PathBuf,
    /// The file to which output is appended.
    pub(crate) log: PathBuf,
    /// Another user to run as.
    pub(crate) run_as: Option<Owner>,
    /// The signal that asks the process to stop.
    pub(crate) stop_signal: Signal,
    /// The file that records the process id, in case this process is killed.
    pub(crate) pid_file: Option<PathBuf>,
    /// Whether the process gets the stop signal when the thread that started it ends. Only for programs whose main
    /// thread starts their children.
    pub(crate) tied_to_us: bool,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    spec: Spec,
    child: Child,
}

impl Process {
    /// Starts the process.
    pub(crate) fn spawn(spec: &Spec) -> Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&spec.log)
            .map_err(Error::path("open", &spec.log))?;
        let error_log = log.try_clone().map_err(Error::path("open", &spec.log))?;
        let mut command = if spec.tied_to_us && can_tie() {
            let mut command = Command::new("setpriv");
            command.args([
                "--pdeathsig",
                spec.stop_signal.as_str().trim_start_matches("SIG"),
                "--",
            ]);
            command.arg(&spec.program);
            command
        } else {
            Command::new(&spec.program)
        };
        match spec.inherited {
            Environment::AllExcept(prefixes) => remove_variables(&mut command, prefixes),
            Environment::Nothing => {
                command.env_clear();
            }
        }
        command
            .args(&spec.args)
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&spec.dir)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error_log)
            .process_group(0);
        if let Some(owner) = spec.run_as {
            command.uid(owner.uid).gid(owner.gid);
        }
        let child = command.spawn().map_err(Error::io(format!(
            "start {} ({})",
            spec.name,
            spec.program.display()
        )))?;
        let process = Self {
            spec: spec.clone(),
            child,
        };
        if let (Some(file), Some(pid)) = (&process.spec.pid_file, process.pid()) {
            pid_file::record(file, pid)?;
        }
        Ok(process)
    }

    /// The process id; `None` after the process has exited and been waited for.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The exit status, if the process has exited.
    pub(crate) fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let status = self
            .child
            .try_wait()
            .map_err(Error::io(format!("wait for {}", self.spec.name)))?;
        if status.is_some() {
            self.remove_pid_file();
        }
        Ok(status)
    }

    /// Waits until the process exits. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self
            .child
            .wait()
            .await
            .map_err(Error::io(format!("wait for {}", self.spec.name)))?;
        self.remove_pid_file();
        Ok(status)
    }

    /// The error to report when the process has exited by itself.
    pub(crate) fn exit_error(&self, status: ExitStatus) -> Error {
        Error::Exited {
            name: self.spec.name.clone(),
            status,
            log: self.spec.log.clone(),
            tail: self.tail(),
        }
    }

    /// The error to report when the process was not ready in time.
    pub(crate) fn not_ready(&self, within: Duration, reason: impl Into<String>) -> Error {
        Error::NotReady {
            name: self.spec.name.clone(),
            seconds: within.as_secs(),
            reason: reason.into(),
            log: self.spec.log.clone(),
            tail: self.tail(),
        }
    }

    fn tail(&self) -> String {
        logs::tail(&self.spec.log, 12)
    }

    /// Sends a signal. Does nothing after the process has exited.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) else {
            return Ok(());
        };
        kill(Pid::from_raw(pid), signal)
            .map_err(|errno| Error::io(format!("send {signal} to {}", self.spec.name))(errno.into()))
    }

    /// Stops the process by its stop signal. Returns `None` if it took longer than `grace` and was killed.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Result<Option<ExitStatus>> {
        self.stop_with(self.spec.stop_signal, grace).await
    }

    /// Stops the process by another signal.
    pub(crate) async fn stop_with(&mut self, signal: Signal, grace: Duration) -> Result<Option<ExitStatus>> {
        if let Some(status) = self.exit_status()? {
            return Ok(Some(status));
        }
        self.signal(signal)?;
        // A paused process receives the signal only after this one.
        self.signal(Signal::SIGCONT)?;
        if let Ok(status) = tokio::time::timeout(grace, self.wait()).await {
            return status.map(Some);
        }
        self.signal(Signal::SIGKILL)?;
        self.wait().await?;
        Ok(None)
    }

    fn remove_pid_file(&self) {
        if let Some(file) = &self.spec.pid_file {
            pid_file::remove(file);
        }
    }
}

impl Drop for Process {
    /// After an error or a failed test: blocks until the process has exited, so that no temporary directory is removed
    /// while its server is running.
    fn drop(&mut self) {
        if !matches!(self.exit_status(), Ok(None)) {
            return;
        }
        let asked = self
            .signal(self.spec.stop_signal)
            .and_then(|()| self.signal(Signal::SIGCONT));
        let deadline = Instant::now() + DROP_GRACE;
        while asked.is_ok() && Instant::now() < deadline {
            if !matches!(self.exit_status(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Errors cannot be reported from here.
        drop(self.child.start_kill());
        self.remove_pid_file();
    }
}

/// Removes all variables whose names start with one of the prefixes.
fn remove_variables(command: &mut Command, prefixes: &[&str]) {
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_str().unwrap_or_default();
        if prefixes.iter().any(|prefix| name_text.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

/// Whether `setpriv` of util-linux is installed and can send a signal when the parent ends.
fn can_tie() -> bool {
    static CAN_TIE: OnceLock<bool> = OnceLock::new();
    *CAN_TIE.get_or_init(|| {
        StdCommand::new("setpriv")
            .args(["--pdeathsig", "TERM", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Runs a command to its end and returns its standard output. The error of a failed command contains its output.
pub(crate) async fn run_to_end(name: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(Error::io(format!("run {name}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let message = format!("{text}{}", String::from_utf8_lossy(&output.stderr))
        .trim()
        .to_owned();
    Err(Error::CommandFailed {
        name: name.to_owned(),
        status: output.status,
        message,
    })
}
