//! Which user the private services run as.
//!
//! An ordinary user runs them as itself. Root cannot: initdb and postgres refuse
//! it, so root hands them to the `postgres` user that Debian's package made, or
//! to `nobody`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

use crate::error::{Error, Result};

/// The user that root hands the services to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The numeric user.
    pub(crate) uid: u32,
    /// The user's main group.
    pub(crate) gid: u32,
}

impl Owner {
    /// `None` when we are an ordinary user and the services run as we do.
    pub(crate) fn of_services() -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            let user = User::from_name(name)
                .map_err(|errno| Error::io(format!("look up the user {name}"))(errno.into()))?;
            if let Some(user) = user {
                return Ok(Some(Self {
                    uid: user.uid.as_raw(),
                    gid: user.gid.as_raw(),
                }));
            }
        }
        Err(Error::Missing(
            "Postgres refuses to run as root, and this machine has neither a user `postgres` nor `nobody`. \
             Create one: useradd --system postgres"
                .to_owned(),
        ))
    }

    /// Makes the path this user's.
    pub(crate) fn take(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(Error::path("hand over", path))
    }

    /// Makes the folder and all that is in it this user's, if it is another's:
    /// root's services ran as `nobody` before there was a user `postgres`.
    pub(crate) fn take_tree(self, path: &Path) -> Result<()> {
        let info = fs::symlink_metadata(path).map_err(Error::path("read", path))?;
        if info.uid() == self.uid {
            return Ok(());
        }
        if info.is_dir() {
            for entry in fs::read_dir(path).map_err(Error::path("read", path))? {
                self.take_tree(&entry.map_err(Error::path("read", path))?.path())?;
            }
        }
        lchown(path, Some(self.uid), Some(self.gid)).map_err(Error::path("hand over", path))
    }

    /// Whether this user can get into the folder, which must exist. False when a
    /// parent is closed, such as a clone below `/root`.
    pub(crate) fn can_enter(self, folder: &Path) -> bool {
        Command::new("test")
            .arg("-x")
            .arg(folder)
            .uid(self.uid)
            .gid(self.gid)
            .current_dir("/")
            .stdin(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Whether we run as root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}
