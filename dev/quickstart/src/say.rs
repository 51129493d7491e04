//! What the person at the terminal is told: one place that writes to standard
//! output, so that a closed pipe is not a panic.

use std::io::Write;

/// Writes one line to standard output.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason to stop what runs.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Writes one line to standard error: faults, and what must not mix with
/// output that is meant for a shell.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stderr().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
