//! Runs a command in the foreground: passes signals on to it and returns its exit status.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::signals::Signals;
use crate::error::{Error, Result};

/// Ctrl-C in the terminal reaches the command too. This is how long it may take to exit before it gets SIGTERM.
const CTRL_C_GRACE: Duration = Duration::from_secs(5);

/// How long the command may take to exit after SIGTERM before it is killed.
const TERM_GRACE: Duration = Duration::from_secs(20);

/// Runs a command to its end with additional environment variables.
pub async fn run(
    name: &str,
    command: &mut Command,
    env: &[(OsString, OsString)],
    signals: &mut Signals,
) -> Result<ExitStatus> {
    let mut child = command
        .envs(env.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::io(format!("run {name}")))?;
    let mut exited = tokio::select! {
        status = child.wait() => Some(status),
        signal = signals.next() => {
            if signal == Signal::SIGINT {
                exit_within(&mut child, CTRL_C_GRACE).await
            } else {
                None
            }
        }
    };
    if exited.is_none() {
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM)
                .map_err(|errno| Error::io(format!("stop {name}"))(errno.into()))?;
        }
        exited = exit_within(&mut child, TERM_GRACE).await;
    }
    if exited.is_none() {
        child.kill().await.map_err(Error::io(format!("kill {name}")))?;
        exited = Some(child.wait().await);
    }
    exited
        .unwrap_or_else(|| Err(std::io::Error::other("it has not exited")))
        .map_err(Error::io(format!("wait for {name}")))
}

async fn exit_within(child: &mut Child, grace: Duration) -> Option<std::io::Result<ExitStatus>> {
    tokio::time::timeout(grace, child.wait()).await.ok()
}

/// The exit code as in a shell: 128 plus the signal if a signal ended the command.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
