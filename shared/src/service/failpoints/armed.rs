//! What a point does in a build that has them.

use std::{path::PathBuf, sync::LazyLock};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Failpoint;

/// The file that arms a point, if the process has one.
static FILE: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("ERRAND_FAILPOINT").map(PathBuf::from));

/// Ends or stops the process if the point is armed.
pub(super) fn hit(point: Failpoint) {
    let Some(file) = &*FILE else { return };
    let Ok(order) = std::fs::read_to_string(file) else {
        return;
    };
    let mut words = order.split_whitespace();
    // Whoever takes the file away is the one that obeys: several runs may come here at once.
    if words.next() != Some(point.name()) || std::fs::remove_file(file).is_err() {
        return;
    }
    let signal = match words.next() {
        Some("stop") => Signal::SIGSTOP,
        _ => Signal::SIGKILL,
    };
    if let Err(error) = kill(Pid::this(), signal) {
        tracing::error!(%error, "the process could not be ended");
    }
}
