//! The user that Postgres and Redis run as.
//!
//! An ordinary user runs them itself. `initdb` and `postgres` refuse to run as root, so root runs them as the user
//! `postgres` of Debian's package, or as `nobody`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

use crate::error::{Error, Result};

/// The user that root runs the services as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user id.
    pub(crate) uid: u32,
    /// The id of the user's main group.
    pub(crate) gid: u32,
}

impl Owner {
    /// `None` if this process is not root, so that the services run as the same user.
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

    /// Changes the owner of a path to this user.
    pub(crate) fn chown(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(Error::path("change the owner of", path))
    }

    /// Changes the owner of a directory and its contents if it belongs to another user: the services ran as `nobody`
    /// before there was a user `postgres`.
    pub(crate) fn chown_tree(self, path: &Path) -> Result<()> {
        let info = fs::symlink_metadata(path).map_err(Error::path("read", path))?;
        if info.uid() == self.uid {
            return Ok(());
        }
        if info.is_dir() {
            for entry in fs::read_dir(path).map_err(Error::path("read", path))? {
                self.chown_tree(&entry.map_err(Error::path("read", path))?.path())?;
            }
        }
        lchown(path, Some(self.uid), Some(self.gid)).map_err(Error::path("change the owner of", path))
    }

    /// Whether this user can enter an existing directory. False if a parent is closed, such as `/root`.
    pub(crate) fn can_enter(self, dir: &Path) -> bool {
        Command::new("test")
            .arg("-x")
            .arg(dir)
            .uid(self.uid)
            .gid(self.gid)
            .current_dir("/")
            .stdin(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}
