//! Finds the programs of Postgres, Redis and Chromium, and installs missing packages.

mod browser;
mod install;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::owner::is_root;

pub use browser::find_or_install_browser;
pub use install::find_or_install;

/// The command that installs both on Debian and its derivatives.
pub const INSTALL: &str =
    "apt-get update && apt-get install -y --no-install-recommends postgresql redis-server";

/// The environment variable that names the directory of the Postgres programs, instead of a search.
pub const PG_BIN_VARIABLE: &str = "ERRAND_TEST_PG_BIN";

/// The environment variable that names the Redis server, instead of a search.
pub const REDIS_SERVER_VARIABLE: &str = "ERRAND_TEST_REDIS_SERVER";

/// Where to search for programs.
#[derive(Debug, Clone)]
pub struct Places {
    /// The directory of the Postgres programs, if it is known.
    pub postgres: Option<PathBuf>,
    /// The Redis server, if it is known.
    pub redis: Option<PathBuf>,
    /// Directories with one subdirectory for each Postgres version, each with a `bin`.
    pub postgres_versions: Vec<PathBuf>,
    /// Directories of programs, such as those in `PATH`.
    pub dirs: Vec<PathBuf>,
}

impl Places {
    /// The places that the environment names, Debian's directories, `PATH`, and the `sbin` directories that an ordinary
    /// user's `PATH` lacks.
    pub fn of_this_machine() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        dirs.extend(
            [
                "/usr/local/sbin",
                "/usr/local/bin",
                "/usr/sbin",
                "/usr/bin",
                "/sbin",
                "/bin",
            ]
            .map(PathBuf::from),
        );
        let known = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            postgres: known(PG_BIN_VARIABLE),
            redis: known(REDIS_SERVER_VARIABLE),
            postgres_versions: vec![PathBuf::from("/usr/lib/postgresql")],
            dirs,
        }
    }
}

/// The server programs that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The directory of `initdb`, `postgres`, `createdb` and `psql`.
    pub postgres_bin: PathBuf,
    /// The program `redis-server`.
    pub redis_server: PathBuf,
}

/// Finds the newest Postgres, and Redis. The error names what is missing and the command that installs it.
pub fn find(places: &Places) -> Result<Found> {
    match (postgres_bin(places), redis_server(places)) {
        (Some(postgres_bin), Some(redis_server)) => Ok(Found {
            postgres_bin,
            redis_server,
        }),
        (postgres, redis) => Err(Error::Missing(missing(
            postgres.is_none(),
            redis.is_none(),
            places,
        ))),
    }
}

/// Finds Postgres and Redis on this machine.
pub fn find_here() -> Result<Found> {
    find(&Places::of_this_machine())
}

fn postgres_bin(places: &Places) -> Option<PathBuf> {
    if places.postgres.is_some() {
        return places.postgres.clone().filter(|bin| is_postgres_bin(bin));
    }
    let mut versions: Vec<(u32, PathBuf)> = places
        .postgres_versions
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, bin)| is_postgres_bin(bin))
        .collect();
    versions.sort();
    let newest = versions.pop().map(|(_, bin)| bin);
    newest.or_else(|| places.dirs.iter().find(|dir| is_postgres_bin(dir)).cloned())
}

/// The programs of one major version of Postgres, for a cluster that this version created.
pub(crate) fn postgres_bin_of_version(found: &Path, version: &str) -> Option<PathBuf> {
    let versions = found.parent()?.parent()?;
    Some(versions.join(version).join("bin")).filter(|bin| is_postgres_bin(bin))
}

fn is_postgres_bin(dir: &Path) -> bool {
    ["initdb", "postgres", "createdb", "psql"]
        .iter()
        .all(|name| dir.join(name).is_file())
}

fn redis_server(places: &Places) -> Option<PathBuf> {
    if places.redis.is_some() {
        return places.redis.clone().filter(|server| server.is_file());
    }
    program(places, "redis-server")
}

fn program(places: &Places, name: &str) -> Option<PathBuf> {
    places
        .dirs
        .iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

fn missing(postgres: bool, redis: bool, places: &Places) -> String {
    let what = match (postgres, redis) {
        (true, true) => "Postgres and Redis are",
        (true, false) => "Postgres is",
        _ => "Redis is",
    };
    let mut packages = Vec::new();
    packages.extend(postgres.then_some("postgresql"));
    packages.extend(redis.then_some("redis-server"));
    let packages = packages.join(" ");
    if program(places, "apt-get").is_some() {
        let sudo = if is_root() { "" } else { "sudo " };
        return format!(
            "{what} not installed. Install it and try again:\n  {sudo}apt-get update && {sudo}apt-get install -y \
             --no-install-recommends {packages}"
        );
    }
    format!(
        "{what} not installed, and this system has no apt-get. Install PostgreSQL 14 or newer (with initdb, \
         createdb and psql) and redis-server 6.2 or newer with its package manager, add them to PATH and try again"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::temp_dir::TempDir;

    fn empty(dir: &Path) -> Places {
        Places {
            postgres: None,
            redis: None,
            postgres_versions: vec![dir.join("versions")],
            dirs: vec![dir.join("bin")],
        }
    }

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn install_postgres(dir: &Path, version: &str) -> PathBuf {
        let bin = dir.join("versions").join(version).join("bin");
        for name in ["initdb", "postgres", "createdb", "psql"] {
            touch(&bin.join(name));
        }
        bin
    }

    #[test]
    fn the_error_names_the_command_that_installs_missing_packages() {
        let dir = TempDir::new(None).unwrap();
        let places = empty(dir.path());
        touch(&dir.path().join("bin/apt-get"));
        let both = find(&places).unwrap_err().to_string();
        assert!(both.contains("Postgres and Redis are not installed"), "{both}");
        assert!(
            both.contains("apt-get install -y --no-install-recommends postgresql redis-server"),
            "{both}"
        );

        install_postgres(dir.path(), "15");
        let one = find(&places).unwrap_err().to_string();
        assert!(one.contains("Redis is not installed"), "{one}");
        assert!(one.ends_with("--no-install-recommends redis-server"), "{one}");
    }

    #[test]
    fn without_apt_the_error_names_the_required_programs() {
        let dir = TempDir::new(None).unwrap();
        let message = find_or_install(&empty(dir.path()), true).unwrap_err().to_string();
        assert!(
            message.contains("no apt-get") && message.contains("createdb"),
            "{message}"
        );
    }

    #[test]
    fn the_newest_complete_postgres_is_found_and_older_versions_can_be_requested() {
        let dir = TempDir::new(None).unwrap();
        let old = install_postgres(dir.path(), "9");
        let new = install_postgres(dir.path(), "15");
        touch(&dir.path().join("versions/17/bin/psql"));
        touch(&dir.path().join("bin/redis-server"));
        let found = find(&empty(dir.path())).unwrap();
        assert_eq!(found.postgres_bin, new);
        assert_eq!(postgres_bin_of_version(&new, "9"), Some(old));
        assert_eq!(postgres_bin_of_version(&new, "17"), None);
    }

    #[test]
    fn a_configured_path_is_used_without_a_search() {
        let dir = TempDir::new(None).unwrap();
        install_postgres(dir.path(), "15");
        touch(&dir.path().join("bin/redis-server"));
        let mut places = empty(dir.path());
        places.redis = Some(dir.path().join("nowhere/redis-server"));
        let message = find(&places).unwrap_err().to_string();
        assert!(message.contains("Redis is not installed"), "{message}");
    }
}
