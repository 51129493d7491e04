//! What can go wrong, in sentences for the person at the terminal.
//!
//! Every variant says what to do next or shows the last lines of the log that
//! says it. Nothing here holds a password or a key.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use thiserror::Error;

/// A fault that ends the quick start with a clear sentence.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that must be installed is not there, and could not be installed.
    #[error("{0}")]
    Missing(String),
    /// A file, folder or process operation failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried, to be read after "cannot".
        doing: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A child process ended without having been asked.
    #[error("{name} ended ({status}). The last lines of {}:\n{tail}", log.display())]
    Ended {
        /// Which program.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Where its whole log lies.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A child process lives but did not become ready in time.
    #[error("{name} was not ready within {seconds} s ({reason}). The last lines of {}:\n{tail}", log.display())]
    NotReady {
        /// Which program.
        name: String,
        /// How long was waited.
        seconds: u64,
        /// What it answered last.
        reason: String,
        /// Where its whole log lies.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A helper program (initdb, createdb, cargo, …) ended with a failure.
    #[error("{name} failed ({status}): {message}")]
    Helper {
        /// Which program.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        message: String,
    },
    /// Another program uses the data folder.
    #[error("{0}")]
    InUse(String),
    /// The data folder, a setting or an answer is not what it should be.
    #[error("{0}")]
    Unusable(String),
    /// Ctrl-C or SIGTERM came before everything was up.
    #[error("stopped before everything was up")]
    Interrupted,
}

impl Error {
    /// Wraps an [`io::Error`] with what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The same, for an operation on one path.
    pub(crate) fn path(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{verb} {}", path.display()))
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
