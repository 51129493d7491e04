//! Records the processes that use a data directory, so that the next start can stop those that a killed start has left.
//!
//! The system may reuse a process id. Id and start time together identify one process until the machine restarts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::secret::write_private;
use crate::error::{Error, Result};
use crate::print;

/// How long a leftover process may take to exit before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Records a process that was started.
pub(crate) fn record(file: &Path, pid: u32) -> Result<()> {
    let Some(started) = start_time(pid) else {
        return Ok(()); // It has already exited; the caller notices when it waits for the process.
    };
    write_private(file, &format!("{pid} {started}\n"))
}

/// Removes a record. A stale record does no harm, so errors are ignored.
pub(crate) fn remove(file: &Path) {
    drop(fs::remove_file(file));
}

/// Stops every recorded process that is still running and prints a message about each. Returns their names.
pub async fn stop_leftover(dir: &Path) -> Result<Vec<String>> {
    let mut stopped = Vec::new();
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::path("read", dir))? {
        files.push(entry.map_err(Error::path("read", dir))?.path());
    }
    files.sort();
    for file in files {
        if let Some((pid, started)) = read(&file)
            && start_time(pid).as_deref() == Some(started.as_str())
        {
            let name = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            print::error_line(&format!("Stopping {name}, which an earlier start left running."));
            stop(pid, &started).await?;
            stopped.push(name);
        }
        remove(&file);
    }
    Ok(stopped)
}

async fn stop(pid: u32, started: &str) -> Result<()> {
    let Ok(raw) = i32::try_from(pid) else {
        return Ok(());
    };
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        kill(Pid::from_raw(raw), signal)
            .map_err(|errno| Error::io(format!("stop the leftover process {pid}"))(errno.into()))?;
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if start_time(pid).as_deref() != Some(started) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Err(Error::InUse(format!(
        "process {pid} of an earlier start does not exit; kill it and try again"
    )))
}

fn read(file: &Path) -> Option<(u32, String)> {
    let text = fs::read_to_string(file).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, started.to_owned()))
}

/// The start time of a process, only for comparison. `None` if the process has exited.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may contain any characters.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    (state != "Z" && state != "X").then(|| format!("{started}@{}", boot.trim()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::files::temp_dir::TempDir;

    #[tokio::test]
    async fn a_leftover_process_is_stopped_but_not_one_that_reuses_its_id() {
        let dir = TempDir::new(None).unwrap();
        let mut ours = Command::new("sleep").arg("600").spawn().unwrap();
        let mut other = Command::new("sleep").arg("600").spawn().unwrap();
        record(&dir.path().join("ours.pid"), ours.id()).unwrap();
        fs::write(dir.path().join("other.pid"), format!("{} 12@then\n", other.id())).unwrap();
        fs::write(dir.path().join("torn.pid"), "12").unwrap();

        assert_eq!(stop_leftover(dir.path()).await.unwrap(), ["ours"]);

        ours.wait().unwrap();
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
