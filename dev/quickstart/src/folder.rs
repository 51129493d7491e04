//! The data folder: everything the quick start keeps, in one place that git
//! ignores, used by one start at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};

use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::say::tell;
use crate::secret::Secret;

/// Where root's data goes when the repository is closed to the services' user.
const FALLBACK: &str = "/var/lib/errand-quickstart";

/// An open data folder; other starts are kept out until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Held, never read: the system lets go of it however we end.
    _lock: File,
}

impl Folder {
    /// Opens the wanted folder, or `.errand` in the repository, making it first
    /// if need be.
    pub(crate) fn open(wanted: Option<&Path>, repository: &Path) -> Result<Self> {
        let owner = Owner::of_services()?;
        let default = repository.join(".errand");
        let mut root = make(wanted.unwrap_or(&default), owner)?;
        if let Some(owner) = owner
            && !owner.can_enter(&root)
        {
            if wanted.is_some() {
                return Err(Error::Unusable(format!(
                    "root hands Postgres to another user, who cannot get into {}: a folder above it is closed. \
                     Choose another --data-dir",
                    root.display()
                )));
            }
            let elsewhere = Path::new(FALLBACK).join(format!("{:016x}", fingerprint(&root)));
            tell(&format!(
                "The repository's folder is closed to the user that Postgres runs as (root cannot run it), so the \
                 data is in {}",
                elsewhere.display()
            ));
            // Removed only if it is empty: what lies in it is not ours to throw away.
            drop(fs::remove_dir(&root));
            fs::create_dir_all(FALLBACK).map_err(Error::path("create", Path::new(FALLBACK)))?;
            root = make(&elsewhere, Some(owner))?;
        }
        let lock = lock(&root)?;
        for name in ["secrets", "logs", "run"] {
            make_private(&root.join(name))?;
        }
        Ok(Self { root, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one service's data.
    pub(crate) fn home(&self, service: &str) -> PathBuf {
        self.root.join(service)
    }

    /// One program's log.
    pub(crate) fn log(&self, program: &str) -> PathBuf {
        self.root.join("logs").join(format!("{program}.log"))
    }

    /// The folder of notes about running processes.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The note about one running process.
    pub(crate) fn pid_file(&self, program: &str) -> PathBuf {
        self.run().join(format!("{program}.pid"))
    }

    /// Where a secret is kept.
    pub(crate) fn secret_file(&self, name: &str) -> PathBuf {
        self.root.join("secrets").join(name)
    }

    /// A secret, made at the first call.
    pub(crate) fn secret(&self, name: &str) -> Result<Secret> {
        Secret::kept_in(&self.secret_file(name))
    }
}

/// Makes the folder if it is not there and refuses one of another user, whose
/// next start would trip over our files.
fn make(path: &Path, owner: Option<Owner>) -> Result<PathBuf> {
    // Root's must let the services' user through to its own folders inside.
    let mode = if owner.is_some() { 0o711 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {}
        Err(fault)
            if fault.kind() == ErrorKind::NotFound && path.parent().is_some_and(|above| !above.exists()) =>
        {
            return Err(Error::Unusable(format!(
                "the folder above {} does not exist; create it first",
                path.display()
            )));
        }
        Err(fault) => return Err(Error::path("create", path)(fault)),
    }
    let info = fs::metadata(path).map_err(Error::path("read", path))?;
    if info.uid() != geteuid().as_raw() {
        let whose = User::from_uid(Uid::from_raw(info.uid()))
            .ok()
            .flatten()
            .map_or_else(|| format!("user {}", info.uid()), |user| user.name);
        return Err(Error::Unusable(format!(
            "the data folder {} belongs to {whose}. Start as {whose}, or choose another with --data-dir",
            path.display()
        )));
    }
    // Also an older one: the umask may have narrowed it, somebody may have opened it.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::path("protect", path))?;
    path.canonicalize().map_err(Error::path("find", path))
}

fn make_private(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(fault) if fault.kind() != ErrorKind::AlreadyExists => Err(Error::path("create", path)(fault)),
        _ => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(Error::path("protect", path))
        }
    }
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::path("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).unwrap_or_default();
            return Err(Error::InUse(format!(
                "another quick start (process {}) uses {}. Stop it with Ctrl-C in its terminal, or choose another \
                 folder with --data-dir",
                pid.trim(),
                root.display()
            )));
        }
        Err(TryLockError::Error(fault)) => return Err(Error::path("lock", &path)(fault)),
    }
    file.set_len(0).map_err(Error::path("write", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(Error::path("write", &path))?;
    Ok(file)
}

/// FNV-1a, so that each clone has a folder of its own that later builds find again.
fn fingerprint(path: &Path) -> u64 {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn open_to_all() -> Scratch {
        let scratch = Scratch::new(None).unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711)).unwrap();
        scratch
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_and_logs_are_the_owners_only() {
        let scratch = open_to_all();
        let folder = Folder::open(None, scratch.path()).unwrap();
        assert_eq!(
            folder.root(),
            scratch.path().canonicalize().unwrap().join(".errand")
        );
        assert_eq!(mode(&folder.root().join("secrets")), 0o700);
        assert_eq!(mode(&folder.root().join("logs")), 0o700);
        folder.secret("jwt-secret").unwrap();
        assert_eq!(mode(&folder.secret_file("jwt-secret")), 0o600);
    }

    #[test]
    fn a_second_start_is_kept_out_and_told_by_whom() {
        let scratch = open_to_all();
        let first = Folder::open(None, scratch.path()).unwrap();
        let message = Folder::open(None, scratch.path()).unwrap_err().to_string();
        assert!(
            message.contains(&format!("process {}", std::process::id())),
            "{message}"
        );
        assert!(message.contains("--data-dir"), "{message}");
        let secret = first.secret("jwt-secret").unwrap();
        drop(first);
        let second = Folder::open(None, scratch.path()).unwrap();
        assert_eq!(second.secret("jwt-secret").unwrap(), secret);
    }

    #[test]
    fn a_missing_parent_is_said() {
        let scratch = open_to_all();
        let wanted = scratch.path().join("no/such");
        let message = Folder::open(Some(&wanted), scratch.path())
            .unwrap_err()
            .to_string();
        assert!(message.contains("does not exist"), "{message}");
    }

    #[test]
    fn a_closed_repository_is_refused_for_a_wanted_folder_when_root() {
        let Some(_) = Owner::of_services().unwrap() else {
            return; // An ordinary user's services can go where it can.
        };
        let scratch = Scratch::new(None).unwrap();
        let wanted = scratch.path().join("data");
        let message = Folder::open(Some(&wanted), scratch.path())
            .unwrap_err()
            .to_string();
        assert!(message.contains("cannot get into"), "{message}");
    }

    #[test]
    fn fingerprints_tell_clones_apart() {
        assert_ne!(
            fingerprint(Path::new("/root/one")),
            fingerprint(Path::new("/root/two"))
        );
    }
}
