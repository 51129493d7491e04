//! What the person at the terminal is told.

use std::io::Write;

/// Writes one line to standard output. A closed one is no reason to stop.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
