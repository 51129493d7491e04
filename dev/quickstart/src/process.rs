//! One child process: started in a process group of its own, so that the
//! terminal's Ctrl-C reaches only us, logged to a file, stopped by signal.
//!
//! Signals go to exactly the process that was started, and only while it has not
//! been waited for, so never to a stranger with a reused id.

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
use crate::logs;
use crate::owner::Owner;
use crate::pid_file;

/// How long a dropped process may take to end by itself.
const DROP_GRACE: Duration = Duration::from_secs(3);

/// What to start and how.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The name in messages.
    pub(crate) name: String,
    /// The program, found by its path.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// What is set in its environment besides our own.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// What is removed from it: every variable whose name begins so.
    pub(crate) env_without: &'static [&'static str],
    /// The folder it starts in.
    pub(crate) dir: PathBuf,
    /// Where its output goes, appended.
    pub(crate) log: PathBuf,
    /// Another user to run as.
    pub(crate) run_as: Option<Owner>,
    /// What asks it to end in good order.
    pub(crate) stop_signal: Signal,
    /// Where to note its id for the next start, in case we are killed.
    pub(crate) pid_file: Option<PathBuf>,
    /// Whether it gets the stop signal when the thread that started it ends. Only
    /// for programs whose main thread starts their children.
    pub(crate) tied_to_us: bool,
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    spec: Spec,
    child: Child,
    paused: bool,
}

impl Process {
    /// Starts it.
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
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| spec.env_without.iter().any(|start| name.starts_with(start)))
            {
                command.env_remove(name);
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
            paused: false,
        };
        if let (Some(file), Some(pid)) = (&process.spec.pid_file, process.pid()) {
            pid_file::note(file, pid)?;
        }
        Ok(process)
    }

    /// Its id; `None` once it has ended and been waited for.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self
            .child
            .try_wait()
            .map_err(Error::io(format!("wait for {}", self.spec.name)))?;
        if ended.is_some() {
            self.forget();
        }
        Ok(ended)
    }

    /// Waits until it ends. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self
            .child
            .wait()
            .await
            .map_err(Error::io(format!("wait for {}", self.spec.name)))?;
        self.forget();
        Ok(status)
    }

    /// The fault to report when it has ended unasked.
    pub(crate) fn fault_of_end(&self, status: ExitStatus) -> Error {
        Error::Ended {
            name: self.spec.name.clone(),
            status,
            log: self.spec.log.clone(),
            tail: self.tail(),
        }
    }

    /// The fault to report when it was not ready in time.
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

    /// Sends it a signal. Nothing happens when it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) else {
            return Ok(());
        };
        match signal {
            Signal::SIGSTOP => self.paused = true,
            Signal::SIGCONT => self.paused = false,
            _ => {}
        }
        kill(Pid::from_raw(pid), signal)
            .map_err(|errno| Error::io(format!("send {signal} to {}", self.spec.name))(errno.into()))
    }

    /// Asks it to end in good order; kills it when it takes longer than `grace`.
    /// True if it ended by itself.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Result<bool> {
        self.stop_by(self.spec.stop_signal, grace).await
    }

    /// The same with another signal.
    pub(crate) async fn stop_by(&mut self, signal: Signal, grace: Duration) -> Result<bool> {
        if self.ended()?.is_some() {
            return Ok(true);
        }
        self.signal(signal)?;
        if self.paused {
            self.signal(Signal::SIGCONT)?;
        }
        if let Ok(status) = tokio::time::timeout(grace, self.wait()).await {
            status?;
            return Ok(true);
        }
        self.signal(Signal::SIGKILL)?;
        self.wait().await?;
        Ok(false)
    }

    fn forget(&self) {
        if let Some(file) = &self.spec.pid_file {
            pid_file::forget(file);
        }
    }
}

impl Drop for Process {
    /// The way out of a fault or a failed test: blocks for a moment so that a
    /// temporary folder is not removed under a living server.
    fn drop(&mut self) {
        if !matches!(self.ended(), Ok(None)) {
            return;
        }
        let asked = self
            .signal(self.spec.stop_signal)
            .and_then(|()| self.signal(Signal::SIGCONT));
        let until = Instant::now() + DROP_GRACE;
        while asked.is_ok() && Instant::now() < until {
            if !matches!(self.ended(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It cannot be asked, so there is nothing left but this; a fault here has no reader.
        drop(self.child.start_kill());
        self.forget();
    }
}

/// Whether `setpriv` of util-linux is there and can tie a child to its parent.
fn can_tie() -> bool {
    static TRIED: OnceLock<bool> = OnceLock::new();
    *TRIED.get_or_init(|| {
        StdCommand::new("setpriv")
            .args(["--pdeathsig", "TERM", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Runs a short helper program to its end and gives its standard output; a
/// failure carries what it wrote.
pub(crate) async fn run_helper(name: &str, command: &mut Command) -> Result<String> {
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
    Err(Error::Helper {
        name: name.to_owned(),
        status: output.status,
        message,
    })
}
