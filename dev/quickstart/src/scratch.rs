//! A folder for services that keep nothing: made fresh, removed at the end.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::secret::Secret;

/// A temporary folder, removed with all that is in it when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder that only we, and the services' owner if there is one, can enter.
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
            let scratch = Self(path);
            let Some(owner) = owner else {
                return Ok(scratch);
            };
            owner.take(scratch.path())?;
            if owner.can_enter(scratch.path()) {
                return Ok(scratch);
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::Unusable("no temporary folder that the services' user could enter; set TMPDIR".to_owned())
        }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody is left to tell, and the system clears its temporary folder anyway.
        drop(fs::remove_dir_all(&self.0));
    }
}
