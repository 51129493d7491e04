//! The directory of a round: programs, logs and data.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use errand_devstack::{files::secret::Secret, print};

use crate::Result;

/// The directory. Dropping it removes it, unless `keep` is set.
#[derive(Debug)]
pub(crate) struct Workdir {
    pub(crate) path: PathBuf,
    keep: bool,
}

impl Workdir {
    pub(crate) fn new(keep: bool) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("errand-chaos-{}", Secret::random(6)?.expose()));
        // The user that root runs Postgres as must be able to enter.
        DirBuilder::new().mode(0o711).create(&path)?;
        if keep {
            print::line(&format!("logs and data: {}", path.display()));
        }
        Ok(Self { path, keep })
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if !self.keep {
            // The system clears its temporary directories eventually.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
