//! Secrets from the system's random source, kept in files that only their owner can read. `Debug` does not show them.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, Result};

/// A password or key. A random one is hexadecimal, so that it needs no escaping in URLs, files and shells.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new secret of `bytes` random bytes, which are twice as many characters.
    pub fn random(bytes: usize) -> Result<Self> {
        let mut raw = vec![0; bytes];
        random_bytes(&mut raw)?;
        let digits = raw.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Ok(Self(
            digits
                .filter_map(|digit| char::from_digit(u32::from(digit), 16))
                .collect(),
        ))
    }

    /// The text of the secret.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The secret in a file, which the first call creates. Restores the file's mode 600.
    pub(crate) fn kept_in(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600))
                    .map_err(Error::path("protect", path))?;
                Ok(Self(text.trim().to_owned()))
            }
            Ok(_) => Self::create_in(path),
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => Self::create_in(path),
            Err(fault) => Err(Error::path("read", path)(fault)),
        }
    }

    fn create_in(path: &Path) -> Result<Self> {
        let secret = Self::random(24)?;
        write_private(path, &format!("{}\n", secret.0))?;
        Ok(secret)
    }
}

/// Writes a file that only its owner can read, completely or not at all.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("draft");
    match fs::remove_file(&draft) {
        Ok(()) => {}
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {}
        Err(fault) => return Err(Error::path("remove", &draft)(fault)),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .map_err(Error::path("create", &draft))?;
    file.write_all(text.as_bytes())
        .map_err(Error::path("write", &draft))?;
    file.sync_all().map_err(Error::path("write", &draft))?;
    fs::rename(&draft, path).map_err(Error::path("write", path))
}

/// Fills the buffer from the system's random source.
pub(crate) fn random_bytes(buffer: &mut [u8]) -> Result<()> {
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(buffer))
        .map_err(Error::io("read random bytes from /dev/urandom"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::temp_dir::TempDir;

    #[test]
    fn a_secret_is_created_once_and_only_its_owner_can_read_it() {
        let dir = TempDir::new(None).unwrap();
        let path = dir.path().join("key");
        let first = Secret::kept_in(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Secret::kept_in(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first.expose().len() >= 32);
    }

    #[test]
    fn secrets_differ_and_debug_hides_them() {
        let (one, two) = (Secret::random(16).unwrap(), Secret::random(16).unwrap());
        assert_ne!(one, two);
        assert!(!format!("{one:?}").contains(one.expose()));
    }
}
