//! The implementation in builds with failpoints.

use std::{path::PathBuf, sync::LazyLock};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Failpoint;

/// The file that arms a failpoint.
static FILE: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("ERRAND_FAILPOINT").map(PathBuf::from));

pub(super) fn hit(point: Failpoint) {
    let Some(file) = &*FILE else { return };
    let Ok(order) = std::fs::read_to_string(file) else {
        return;
    };
    let mut words = order.split_whitespace();
    // Several runs may get here at once: only the one that deletes the file acts.
    if words.next() != Some(point.name()) || std::fs::remove_file(file).is_err() {
        return;
    }
    let signal = match words.next() {
        Some("stop") => Signal::SIGSTOP,
        _ => Signal::SIGKILL,
    };
    if let Err(error) = kill(Pid::this(), signal) {
        tracing::error!(%error, "the process could not kill itself");
    }
}
