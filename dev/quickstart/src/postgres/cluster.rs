//! The cluster's folder: checked before each start.
//!
//! Knows the files that Postgres keeps there, not how they are made.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{NAME, Settings, initdb};
use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::packages;
use crate::process::run_helper;

/// Makes the cluster if there is none. Gives the folder of the programs that
/// fit it, which is another than the newest when it was made by an older version.
pub(super) async fn prepare(settings: &Settings, owner: Option<Owner>) -> Result<PathBuf> {
    let version_file = settings.home.join("PG_VERSION");
    match fs::read_to_string(&version_file) {
        Ok(version) => {
            if let Some(owner) = owner {
                owner.take_tree(&settings.home)?;
            }
            fitting(settings, version.trim()).await
        }
        Err(fault) if fault.kind() == ErrorKind::NotFound => {
            initdb::make(settings, owner).await?;
            Ok(settings.bin.clone())
        }
        Err(fault) => Err(Error::path("read", &version_file)(fault)),
    }
}

async fn fitting(settings: &Settings, version: &str) -> Result<PathBuf> {
    let found = run_helper(
        "postgres --version",
        Command::new(settings.bin.join("postgres")).arg("--version"),
    )
    .await?;
    // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
    let number = found.split(") ").nth(1).unwrap_or_default();
    if number
        .split('.')
        .next()
        .is_some_and(|major| major.trim() == version)
    {
        return Ok(settings.bin.clone());
    }
    packages::postgres_bin_of_version(&settings.bin, version).ok_or_else(|| {
        Error::Unusable(format!(
            "the data in {} was made by Postgres {version}, which is not installed any more. Install the package \
             postgresql-{version}, or move that folder away to begin anew",
            settings.home.display()
        ))
    })
}

/// Removes a `postmaster.pid` whose process is gone. While the process lives,
/// says which one it is: two servers on one folder would destroy it.
pub(super) fn clear_stale_lock(home: &Path) -> Result<()> {
    let lock = home.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else {
        return Ok(());
    };
    let pid = text.lines().next().unwrap_or_default().trim();
    let lives_here = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir == home)
        || fs::canonicalize(home)
            .is_ok_and(|home| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir == home));
    if lives_here {
        return Err(Error::InUse(format!(
            "another Postgres (process {pid}) runs on {}. Stop it (kill -INT {pid}) and try again",
            home.display()
        )));
    }
    fs::remove_file(&lock).map_err(Error::path("remove", &lock))
}

/// Whether the server with this process id takes connections: it says so itself
/// in the eighth line of its lock file, where `pg_ctl` looks too.
pub(super) fn is_ready(home: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(home.join("postmaster.pid")) else {
        return false;
    };
    let mut lines = text.lines();
    lines.next().is_some_and(|line| line.trim() == pid.to_string())
        && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

/// Makes a database; that it exists already is fine.
pub(super) async fn create_database(settings: &Settings, name: &str) -> Result<()> {
    // Asked first, so that a log without faults shows none.
    let mut psql = client(settings, "psql");
    psql.args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--dbname",
        "postgres",
    ])
    .args(["--command", "SELECT datname FROM pg_database"]);
    let databases = match run_helper("psql", &mut psql).await {
        Err(Error::Helper { message, .. }) if message.contains("password authentication failed") => {
            return Err(Error::Unusable(format!(
                "the data in {} was made with another password than the one kept beside it. Put the file \
                 secrets/postgres-password back, or move both away to begin anew",
                settings.home.display()
            )));
        }
        asked => asked?,
    };
    if databases.lines().any(|database| database == name) {
        return Ok(());
    }
    let mut createdb = client(settings, "createdb");
    createdb.args(["--maintenance-db", "postgres", name]);
    run_helper("createdb", &mut createdb).await.map(drop)
}

/// A client program that logs in to this server.
fn client(settings: &Settings, program: &str) -> Command {
    let mut command = Command::new(settings.bin.join(program));
    without_postgres_variables(&mut command)
        .args(["--host", "127.0.0.1", "--username", NAME, "--no-password"])
        .args(["--port", &settings.port.to_string()])
        .env("PGPASSWORD", settings.password.expose())
        .env("PGCONNECT_TIMEOUT", "10")
        .env("LC_ALL", "C");
    command
}

/// A newcomer's `PGHOST` or `PGSSLMODE` is about another server.
fn without_postgres_variables(command: &mut Command) -> &mut Command {
    let is_postgres = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("PG"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_postgres(name)) {
        command.env_remove(name);
    }
    command
}
