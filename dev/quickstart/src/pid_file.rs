//! Notes of the processes that were started on a data folder, so that the next
//! start can end what a killed one has left behind, and nobody else's.
//!
//! A process id alone may have been given to a stranger since; id and start
//! time together name one process until the machine is started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::say::tell;
use crate::secret::write_private;

/// How long a left-over process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Notes that the process was started by us.
pub(crate) fn note(file: &Path, pid: u32) -> Result<()> {
    let Some(started) = start_time(pid) else {
        return Ok(()); // It has ended already; whoever waits for it will say so.
    };
    write_private(file, &format!("{pid} {started}\n"))
}

/// Takes the note back. A stale note does no harm, so a fault is not reported.
pub(crate) fn forget(file: &Path) {
    drop(fs::remove_file(file));
}

/// Ends every process that is noted in the folder and still lives, says so, and
/// gives their names.
pub(crate) async fn end_left_over(folder: &Path) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::path("read", folder))? {
        files.push(entry.map_err(Error::path("read", folder))?.path());
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
            tell(&format!(
                "Ending {name}, which an earlier start has left running."
            ));
            end(pid, &started).await?;
            ended.push(name);
        }
        forget(&file);
    }
    Ok(ended)
}

async fn end(pid: u32, started: &str) -> Result<()> {
    let Ok(raw) = i32::try_from(pid) else {
        return Ok(());
    };
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        kill(Pid::from_raw(raw), signal)
            .map_err(|errno| Error::io(format!("end the left-over process {pid}"))(errno.into()))?;
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if start_time(pid).as_deref() != Some(started) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Err(Error::InUse(format!(
        "process {pid} of an earlier start does not end; end it and try again"
    )))
}

fn read(file: &Path) -> Option<(u32, String)> {
    let text = fs::read_to_string(file).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, started.to_owned()))
}

/// When the process was started, in a form that only serves to be compared;
/// `None` when it is gone or only waits to be collected.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything.
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
    use crate::scratch::Scratch;

    #[tokio::test]
    async fn a_left_over_process_is_ended_and_a_stranger_with_its_id_is_not() {
        let scratch = Scratch::new(None).unwrap();
        let mut ours = Command::new("sleep").arg("600").spawn().unwrap();
        let mut strange = Command::new("sleep").arg("600").spawn().unwrap();
        note(&scratch.path().join("ours.pid"), ours.id()).unwrap();
        fs::write(
            scratch.path().join("strange.pid"),
            format!("{} 12@then\n", strange.id()),
        )
        .unwrap();
        fs::write(scratch.path().join("torn.pid"), "12").unwrap();

        assert_eq!(end_left_over(scratch.path()).await.unwrap(), ["ours"]);

        ours.wait().unwrap();
        assert!(strange.try_wait().unwrap().is_none());
        strange.kill().unwrap();
        strange.wait().unwrap();
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
