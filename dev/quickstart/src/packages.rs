//! Where the system's packages have put Postgres and Redis, and for the tests Chromium, and what is missing.

mod browser;
mod install;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::owner::is_root;

pub(crate) use browser::find_or_install_browser;
pub(crate) use install::find_or_install;

/// The command that installs what is missing on Debian and its kin.
pub const INSTALL: &str =
    "apt-get update && apt-get install -y --no-install-recommends postgresql redis-server";

/// Names the folder of the Postgres programs, in place of a search.
pub const PG_BIN_VARIABLE: &str = "ERRAND_TEST_PG_BIN";

/// Names the Redis server program, in place of a search.
pub const REDIS_SERVER_VARIABLE: &str = "ERRAND_TEST_REDIS_SERVER";

/// Where to look for programs.
#[derive(Debug, Clone)]
pub struct Places {
    /// A folder of the Postgres programs that is known, so that none is searched.
    pub postgres: Option<PathBuf>,
    /// A Redis server that is known, so that none is searched.
    pub redis: Option<PathBuf>,
    /// Folders with one folder a Postgres version, each with a `bin`.
    pub postgres_versions: Vec<PathBuf>,
    /// Folders of programs, such as those in `PATH`.
    pub folders: Vec<PathBuf>,
}

impl Places {
    /// What the environment names, Debian's folders, `PATH`, and the usual
    /// folders which an ordinary user's `PATH` lacks.
    pub fn of_this_machine() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.extend(
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
            folders,
        }
    }
}

/// The server programs that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The folder that holds `initdb`, `postgres`, `createdb` and `psql`.
    pub postgres_bin: PathBuf,
    /// The program `redis-server`.
    pub redis_server: PathBuf,
}

/// Looks for the newest Postgres and for Redis.
///
/// The error says what is missing and the exact command that installs it.
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

/// Looks on this machine, the way the tests' servers are found.
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
        .filter_map(|folder| std::fs::read_dir(folder).ok())
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
    newest.or_else(|| {
        places
            .folders
            .iter()
            .find(|folder| is_postgres_bin(folder))
            .cloned()
    })
}

/// The Postgres of one major version, for a cluster that was made by it.
pub(crate) fn postgres_bin_of_version(found: &Path, version: &str) -> Option<PathBuf> {
    let versions = found.parent()?.parent()?;
    Some(versions.join(version).join("bin")).filter(|bin| is_postgres_bin(bin))
}

fn is_postgres_bin(folder: &Path) -> bool {
    ["initdb", "postgres", "createdb", "psql"]
        .iter()
        .all(|name| folder.join(name).is_file())
}

fn redis_server(places: &Places) -> Option<PathBuf> {
    if places.redis.is_some() {
        return places.redis.clone().filter(|server| server.is_file());
    }
    program(places, "redis-server")
}

fn program(places: &Places, name: &str) -> Option<PathBuf> {
    places
        .folders
        .iter()
        .map(|folder| folder.join(name))
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
            "{what} not installed. Install and try again:\n  {sudo}apt-get update && {sudo}apt-get install -y \
             --no-install-recommends {packages}"
        );
    }
    format!(
        "{what} not installed, and this system has no apt-get. Install PostgreSQL 14 or newer (with initdb, \
         createdb and psql) and redis-server 6.2 or newer with its package manager and put them into PATH, then try again"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scratch::Scratch;

    fn empty(folder: &Path) -> Places {
        Places {
            postgres: None,
            redis: None,
            postgres_versions: vec![folder.join("versions")],
            folders: vec![folder.join("bin")],
        }
    }

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn install_postgres(folder: &Path, version: &str) -> PathBuf {
        let bin = folder.join("versions").join(version).join("bin");
        for name in ["initdb", "postgres", "createdb", "psql"] {
            touch(&bin.join(name));
        }
        bin
    }

    #[test]
    fn what_is_missing_is_said_with_the_command_that_installs_it() {
        let scratch = Scratch::new(None).unwrap();
        let places = empty(scratch.path());
        touch(&scratch.path().join("bin/apt-get"));
        let both = find(&places).unwrap_err().to_string();
        assert!(both.contains("Postgres and Redis are not installed"), "{both}");
        assert!(
            both.contains("apt-get install -y --no-install-recommends postgresql redis-server"),
            "{both}"
        );

        install_postgres(scratch.path(), "15");
        let one = find(&places).unwrap_err().to_string();
        assert!(one.contains("Redis is not installed"), "{one}");
        assert!(one.ends_with("--no-install-recommends redis-server"), "{one}");
    }

    #[test]
    fn without_apt_the_message_names_what_is_needed() {
        let scratch = Scratch::new(None).unwrap();
        let message = find_or_install(&empty(scratch.path()), true)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("no apt-get") && message.contains("createdb"),
            "{message}"
        );
    }

    #[test]
    fn the_newest_complete_postgres_is_taken_and_an_older_one_can_be_asked_for() {
        let scratch = Scratch::new(None).unwrap();
        let old = install_postgres(scratch.path(), "9");
        let new = install_postgres(scratch.path(), "15");
        touch(&scratch.path().join("versions/17/bin/psql"));
        touch(&scratch.path().join("bin/redis-server"));
        let found = find(&empty(scratch.path())).unwrap();
        assert_eq!(found.postgres_bin, new);
        assert_eq!(postgres_bin_of_version(&new, "9"), Some(old));
        assert_eq!(postgres_bin_of_version(&new, "17"), None);
    }

    #[test]
    fn a_named_place_is_not_searched_around() {
        let scratch = Scratch::new(None).unwrap();
        install_postgres(scratch.path(), "15");
        touch(&scratch.path().join("bin/redis-server"));
        let mut places = empty(scratch.path());
        places.redis = Some(scratch.path().join("nowhere/redis-server"));
        let message = find(&places).unwrap_err().to_string();
        assert!(message.contains("Redis is not installed"), "{message}");
    }
}
