//! Output for the person at the terminal. A closed standard output is no reason to stop, so errors are ignored.

use std::io::Write;

/// Writes one line to standard output.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Writes one line to standard error: errors, and messages that must not mix with output for a shell.
pub fn error_line(text: &str) {
    let mut out = std::io::stderr().lock();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}
