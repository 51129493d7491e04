//! Runs a command in the foreground: its exit code becomes ours, our signals
//! become its own.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::error::{Error, Result};
use crate::signals::Signals;

/// The terminal's Ctrl-C reaches the command as well; it gets this long to end
/// by that before it is told again.
const CTRL_C_GRACE: Duration = Duration::from_secs(5);

/// How long it may take to end once it was told, before it is killed.
const TERM_GRACE: Duration = Duration::from_secs(20);

/// Runs it to its end with these variables added.
pub(crate) async fn run(
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
    let mut waited = tokio::select! {
        status = child.wait() => Some(status),
        signal = signals.next() => {
            if signal == Signal::SIGINT {
                end_within(&mut child, CTRL_C_GRACE).await
            } else {
                None
            }
        }
    };
    if waited.is_none() {
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM)
                .map_err(|errno| Error::io(format!("stop {name}"))(errno.into()))?;
        }
        waited = end_within(&mut child, TERM_GRACE).await;
    }
    if waited.is_none() {
        child.kill().await.map_err(Error::io(format!("kill {name}")))?;
        waited = Some(child.wait().await);
    }
    waited
        .unwrap_or_else(|| Err(std::io::Error::other("it has not ended")))
        .map_err(Error::io(format!("wait for {name}")))
}

async fn end_within(child: &mut Child, grace: Duration) -> Option<std::io::Result<ExitStatus>> {
    tokio::time::timeout(grace, child.wait()).await.ok()
}

/// The exit code as a shell gives it: 128 and the signal when one ended it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
