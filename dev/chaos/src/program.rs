//! One of Errand's programs in a round: supervised, with failpoints, and with a log that shows what went wrong.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use errand_devstack::process::supervisor::Supervised;
use nix::sys::signal::Signal;
use serde_json::Value;
use uuid::Uuid;

use crate::Result;
use crate::failpoint::{Action, Failpoint};

/// A program that is started again whenever it exits.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    supervised: Supervised,
    /// Holds the armed failpoint until the process reaches it.
    failpoint_file: PathBuf,
}

impl Program {
    pub(crate) fn new(supervised: Supervised, failpoint_file: PathBuf) -> Self {
        Self {
            supervised,
            failpoint_file,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.supervised.name()
    }

    /// How often it has been started.
    pub(crate) fn starts(&self) -> u32 {
        self.supervised.starts()
    }

    /// Sends the process a signal, if one is running.
    pub(crate) fn signal(&self, signal: Signal) {
        self.supervised.signal(signal);
    }

    /// Kills the process and starts no other until [`Self::release`].
    pub(crate) fn hold_down(&self) {
        self.supervised.hold_down();
    }

    /// Lets the program start again.
    pub(crate) fn release(&self) {
        self.supervised.release();
    }

    /// Arms a failpoint of the process, or of the next one.
    pub(crate) fn arm(&self, failpoint: Failpoint, action: Action) -> Result<()> {
        failpoint.arm(action, &self.failpoint_file)
    }

    /// Disarms the failpoint if the process has not reached it.
    pub(crate) fn disarm(&self) {
        std::fs::remove_file(&self.failpoint_file).ok();
    }

    /// Whether the process has reached the armed failpoint, which removes the file.
    pub(crate) fn has_reached_failpoint(&self) -> bool {
        !self.failpoint_file.exists()
    }

    /// What no fault explains: exits other than by SIGKILL or with code 0, failed starts, and stops that took too long.
    pub(crate) fn unexpected_exits(&self) -> Vec<String> {
        let is_unexpected = |status: &std::process::ExitStatus| {
            status.code() != Some(0) && status.signal() != Some(Signal::SIGKILL as i32)
        };
        let exits = self.supervised.exits().into_iter().filter(is_unexpected);
        let mut unexpected: Vec<_> = exits
            .map(|status| format!("{} exited: {status}", self.name()))
            .collect();
        unexpected.extend(self.supervised.errors());
        unexpected
    }

    /// The whole log.
    pub(crate) fn log(&self) -> String {
        std::fs::read(self.supervised.log()).map_or_else(
            |_| String::new(),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    /// The id with which the current worker process holds its leases.
    pub(crate) fn worker_id(&self) -> Option<Uuid> {
        let log = self.log();
        let line = log.lines().rev().find(|line| line.contains(WORKER_STARTED))?;
        let line: Value = serde_json::from_str(line).ok()?;
        line.get("worker.id")?.as_str()?.parse().ok()
    }
}

/// The log message with which a worker states its id.
const WORKER_STARTED: &str = "worker starting";
