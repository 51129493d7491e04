//! Errors as messages for the person at the terminal.
//!
//! Each message says what to do next or shows the end of the log that does. No message contains a password or key.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use thiserror::Error;

/// Why something could not be started or kept running.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A required package is not installed and could not be installed.
    #[error("{0}")]
    Missing(String),
    /// An operation on a file, directory or process failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// The operation, as it reads after "cannot".
        doing: String,
        /// The error of the system.
        source: io::Error,
    },
    /// A process exited by itself.
    #[error("{name} exited ({status}). The last lines of {}:\n{tail}", log.display())]
    Exited {
        /// The program.
        name: String,
        /// The exit status.
        status: ExitStatus,
        /// The log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A process is running but did not become ready in time.
    #[error("{name} was not ready within {seconds} s ({reason}). The last lines of {}:\n{tail}", log.display())]
    NotReady {
        /// The program.
        name: String,
        /// The time limit.
        seconds: u64,
        /// The result of the last readiness check.
        reason: String,
        /// The log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A command such as `createdb` or `cargo build` failed.
    #[error("{name} failed ({status}): {message}")]
    CommandFailed {
        /// The program.
        name: String,
        /// The exit status.
        status: ExitStatus,
        /// Its output.
        message: String,
    },
    /// Another process uses the data directory or the port.
    #[error("{0}")]
    InUse(String),
    /// The data directory, a setting or an answer cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// A signal arrived before everything was running.
    #[error("stopped before everything was running")]
    Interrupted,
}

impl Error {
    /// Wraps an [`io::Error`] with the operation that failed.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Wraps an [`io::Error`] of an operation on a path.
    pub fn path(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{verb} {}", path.display()))
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
