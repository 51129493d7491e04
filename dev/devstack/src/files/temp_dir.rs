//! A temporary directory for services that keep no data.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::owner::Owner;
use super::secret::Secret;
use crate::error::{Error, Result};

/// A temporary directory. Dropping it removes it with its contents.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Creates a directory in which Postgres and Redis can store data.
    pub fn for_services() -> Result<Self> {
        Self::new(Owner::of_services()?)
    }

    /// Creates a directory that only this user, or `owner` if there is one, can enter.
    pub(crate) fn new(owner: Option<Owner>) -> Result<Self> {
        let name = format!("errand-{}", Secret::random(8)?.expose());
        let mut last = None;
        for parent in [
            std::env::temp_dir(),
            PathBuf::from("/tmp"),
            PathBuf::from("/var/tmp"),
        ] {
            let path = parent.join(&name);
            if let Err(fault) = DirBuilder::new().mode(0o700).create(&path) {
                last = Some(Error::path("create", &path)(fault));
                continue;
            }
            let dir = Self(path);
            let Some(owner) = owner else {
                return Ok(dir);
            };
            owner.chown(dir.path())?;
            if owner.can_enter(dir.path()) {
                return Ok(dir);
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::Unusable("the services' user can enter no temporary directory; set TMPDIR".to_owned())
        }))
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // The system clears its temporary directories eventually.
        drop(fs::remove_dir_all(&self.0));
    }
}
