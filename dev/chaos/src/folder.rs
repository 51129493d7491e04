//! The folder of a round: programs, logs, data.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use errand_quickstart::secret::Secret;

use crate::{Result, say::say};

/// The round's folder, removed at the end unless it is to be kept.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    keep: bool,
}

impl Folder {
    /// A fresh one. `keep` leaves it behind at the end.
    pub(crate) fn new(keep: bool) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("errand-chaos-{}", Secret::random(6)?.expose()));
        // Root hands Postgres to another user, who must get in.
        DirBuilder::new().mode(0o711).create(&path)?;
        if keep {
            say(&format!("logs and data: {}", path.display()));
        }
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What can't be removed is in the system's temporary folder.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
