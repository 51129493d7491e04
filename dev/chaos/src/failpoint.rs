//! The failpoints of the programs: places in their code where a process can kill or pause itself.
//!
//! Known by name only. A test compares the list with the programs' own.

use std::fs;
use std::path::Path;

use crate::Result;

/// The environment variable that names the file with the armed failpoint.
pub(crate) const FILE_VARIABLE: &str = "ERRAND_FAILPOINT";

/// The cargo features that compile the failpoints in.
pub(crate) const FEATURES: [&str; 2] = ["errand-api/failpoints", "errand-worker/failpoints"];

/// A failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Failpoint {
    pub(crate) name: &'static str,
    /// Whether it is in the API; otherwise it is in the worker.
    pub(crate) is_in_api: bool,
}

const fn api(name: &'static str) -> Failpoint {
    Failpoint {
        name,
        is_in_api: true,
    }
}

const fn worker(name: &'static str) -> Failpoint {
    Failpoint {
        name,
        is_in_api: false,
    }
}

pub(crate) const RETRY_COMMITTED: Failpoint = api("retry-committed");
pub(crate) const TOOLS_REQUESTED: Failpoint = worker("tools-requested");
pub(crate) const STEP_COMMITTED: Failpoint = worker("step-committed");
pub(crate) const MCP_CALL_STARTED: Failpoint = worker("mcp-call-started");
pub(crate) const MCP_CALL_ANSWERED: Failpoint = worker("mcp-call-answered");
pub(crate) const BEFORE_FINISH: Failpoint = worker("before-finish");
pub(crate) const REQUEUED: Failpoint = worker("requeued");

/// All failpoints, in the order in which a chat reaches them.
pub(crate) const ALL: &[Failpoint] = &[
    api("post-committed"),
    api("post-notified"),
    RETRY_COMMITTED,
    api("decision-committed"),
    worker("notification-popped"),
    worker("claim-committed"),
    TOOLS_REQUESTED,
    worker("step-written"),
    STEP_COMMITTED,
    worker("approval-requested"),
    worker("pending-calls-loaded"),
    MCP_CALL_STARTED,
    MCP_CALL_ANSWERED,
    BEFORE_FINISH,
    worker("finish-committed"),
    worker("finish-published"),
    worker("run-finished-sent"),
    REQUEUED,
];

/// What a process does at an armed failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
}

impl Failpoint {
    /// Arms the failpoint in the process that reads this file.
    pub(crate) fn arm(self, action: Action, file: &Path) -> Result<()> {
        let order = match action {
            Action::Kill => self.name.to_owned(),
            Action::Pause => format!("{} stop", self.name),
        };
        // The process must not read an incomplete file.
        let draft = file.with_extension("draft");
        fs::write(&draft, order)?;
        Ok(fs::rename(&draft, file)?)
    }
}

#[cfg(test)]
mod tests {
    use errand_shared::service::failpoints;

    use super::*;

    #[test]
    fn list_matches_the_failpoints_of_the_programs() {
        let programs: Vec<_> = failpoints::Failpoint::ALL
            .iter()
            .map(|point| (point.name(), point.is_in_api()))
            .collect();
        let ours: Vec<_> = ALL.iter().map(|point| (point.name, point.is_in_api)).collect();
        assert_eq!(ours, programs);
    }
}
