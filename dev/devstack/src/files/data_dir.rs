//! The data directory of `cargo quickstart`: data, logs and secrets. Only one process uses it at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};

use super::owner::Owner;
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::print;

/// The parent directory of root's data when the services' user cannot enter the repository.
const FALLBACK: &str = "/var/lib/errand-quickstart";

/// A locked data directory. Dropping it releases the lock.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    /// Holds the lock. The system releases it however this process ends.
    _lock: File,
}

impl DataDir {
    /// Opens a directory, by default `.errand` in the repository, and creates it if necessary.
    pub fn open(wanted: Option<&Path>, repository: &Path) -> Result<Self> {
        let owner = Owner::of_services()?;
        let default = repository.join(".errand");
        let mut root = make(wanted.unwrap_or(&default), owner)?;
        if let Some(owner) = owner
            && !owner.can_enter(&root)
        {
            if wanted.is_some() {
                return Err(Error::Unusable(format!(
                    "root runs Postgres as another user, who cannot enter {} because a parent directory is closed. \
                     Choose another --data-dir",
                    root.display()
                )));
            }
            let elsewhere = Path::new(FALLBACK).join(format!("{:016x}", fingerprint(&root)));
            print::error_line(&format!(
                "The user that Postgres runs as (it cannot run as root) cannot enter the repository, so the data is \
                 in {}",
                elsewhere.display()
            ));
            // Fails if the directory is not empty, so that no data is lost.
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

    /// The path of the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a service's data.
    pub(crate) fn home(&self, service: &str) -> PathBuf {
        self.root.join(service)
    }

    /// The directory of the logs.
    pub fn log_dir(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log of a program.
    pub(crate) fn log(&self, program: &str) -> PathBuf {
        self.log_dir().join(format!("{program}.log"))
    }

    /// The directory of the pid files.
    pub fn pid_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The pid file of a program.
    pub(crate) fn pid_file(&self, program: &str) -> PathBuf {
        self.pid_dir().join(format!("{program}.pid"))
    }

    /// The file of a secret.
    pub fn secret_file(&self, name: &str) -> PathBuf {
        self.root.join("secrets").join(name)
    }

    /// A secret, created by the first call.
    pub fn secret(&self, name: &str) -> Result<Secret> {
        Secret::kept_in(&self.secret_file(name))
    }
}

/// Creates the directory if necessary. Refuses a directory of another user, who could no longer use it afterwards.
fn make(path: &Path, owner: Option<Owner>) -> Result<PathBuf> {
    // The services' user must be able to enter its own directories inside.
    let mode = if owner.is_some() { 0o711 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {}
        Err(fault)
            if fault.kind() == ErrorKind::NotFound && path.parent().is_some_and(|above| !above.exists()) =>
        {
            return Err(Error::Unusable(format!(
                "the parent directory of {} does not exist; create it first",
                path.display()
            )));
        }
        Err(fault) => return Err(Error::path("create", path)(fault)),
    }
    let info = fs::metadata(path).map_err(Error::path("read", path))?;
    if info.uid() != geteuid().as_raw() {
        let owner_name = User::from_uid(Uid::from_raw(info.uid()))
            .ok()
            .flatten()
            .map_or_else(|| format!("user {}", info.uid()), |user| user.name);
        return Err(Error::Unusable(format!(
            "the data directory {} belongs to {owner_name}. Start as {owner_name}, or choose another --data-dir",
            path.display()
        )));
    }
    // The mode of an existing directory may be different.
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
                "another quickstart (process {}) uses {}. Stop it with Ctrl-C in its terminal, or choose another \
                 --data-dir",
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

/// FNV-1a: each clone has its own directory, which later builds find again.
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
    use crate::files::temp_dir::TempDir;

    fn enterable_temp_dir() -> TempDir {
        let temp = TempDir::new(None).unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o711)).unwrap();
        temp
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_and_logs_are_private() {
        let temp = enterable_temp_dir();
        let dir = DataDir::open(None, temp.path()).unwrap();
        assert_eq!(dir.root(), temp.path().canonicalize().unwrap().join(".errand"));
        assert_eq!(mode(&dir.root().join("secrets")), 0o700);
        assert_eq!(mode(&dir.root().join("logs")), 0o700);
        dir.secret("jwt-secret").unwrap();
        assert_eq!(mode(&dir.secret_file("jwt-secret")), 0o600);
    }

    #[test]
    fn a_directory_in_use_is_refused_with_the_process_id() {
        let temp = enterable_temp_dir();
        let first = DataDir::open(None, temp.path()).unwrap();
        let message = DataDir::open(None, temp.path()).unwrap_err().to_string();
        assert!(
            message.contains(&format!("process {}", std::process::id())),
            "{message}"
        );
        assert!(message.contains("--data-dir"), "{message}");
        let secret = first.secret("jwt-secret").unwrap();
        drop(first);
        let second = DataDir::open(None, temp.path()).unwrap();
        assert_eq!(second.secret("jwt-secret").unwrap(), secret);
    }

    #[test]
    fn a_missing_parent_directory_is_reported() {
        let temp = enterable_temp_dir();
        let wanted = temp.path().join("no/such");
        let message = DataDir::open(Some(&wanted), temp.path()).unwrap_err().to_string();
        assert!(message.contains("does not exist"), "{message}");
    }

    #[test]
    fn root_refuses_a_chosen_directory_that_the_services_user_cannot_enter() {
        let Some(_) = Owner::of_services().unwrap() else {
            return; // An ordinary user runs the services itself.
        };
        let temp = TempDir::new(None).unwrap();
        let wanted = temp.path().join("data");
        let message = DataDir::open(Some(&wanted), temp.path()).unwrap_err().to_string();
        assert!(message.contains("cannot enter"), "{message}");
    }

    #[test]
    fn fingerprints_of_clones_differ() {
        assert_ne!(
            fingerprint(Path::new("/root/one")),
            fingerprint(Path::new("/root/two"))
        );
    }
}
