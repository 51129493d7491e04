//! Checks the cluster's directory before each start, and creates databases.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{NAME, Settings, initdb};
use crate::error::{Error, Result};
use crate::files::owner::Owner;
use crate::packages;
use crate::process::child::run_to_end;

/// Creates the cluster if necessary. Returns the directory of the programs that fit its version.
pub(super) async fn prepare(settings: &Settings, owner: Option<Owner>) -> Result<PathBuf> {
    let version_file = settings.home.join("PG_VERSION");
    match fs::read_to_string(&version_file) {
        Ok(version) => {
            if let Some(owner) = owner {
                owner.chown_tree(&settings.home)?;
            }
            programs_of_version(settings, version.trim()).await
        }
        Err(fault) if fault.kind() == ErrorKind::NotFound => {
            initdb::create_cluster(settings, owner).await?;
            Ok(settings.bin.clone())
        }
        Err(fault) => Err(Error::path("read", &version_file)(fault)),
    }
}

async fn programs_of_version(settings: &Settings, version: &str) -> Result<PathBuf> {
    let found = run_to_end(
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
            "the data in {} was created by Postgres {version}, which is no longer installed. Install the package \
             postgresql-{version}, or move the directory away to start without data",
            settings.home.display()
        ))
    })
}

/// Removes the `postmaster.pid` of a process that has exited. Fails if the process is running, because two servers
/// would destroy the data.
pub(super) fn clear_stale_lock(home: &Path) -> Result<()> {
    let lock = home.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else {
        return Ok(());
    };
    let pid = text.lines().next().unwrap_or_default().trim();
    let is_running = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir == home)
        || fs::canonicalize(home)
            .is_ok_and(|home| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir == home));
    if is_running {
        return Err(Error::InUse(format!(
            "another Postgres (process {pid}) uses {}. Stop it (kill -INT {pid}) and try again",
            home.display()
        )));
    }
    fs::remove_file(&lock).map_err(Error::path("remove", &lock))
}

/// Whether the server with this process id accepts connections, according to the eighth line of its lock file, which
/// `pg_ctl` reads too.
pub(super) fn is_ready(home: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(home.join("postmaster.pid")) else {
        return false;
    };
    let mut lines = text.lines();
    lines.next().is_some_and(|line| line.trim() == pid.to_string())
        && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

/// Creates a database if it does not exist.
pub(super) async fn create_database(settings: &Settings, name: &str) -> Result<()> {
    // Avoids an error in the server's log.
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
    let databases = match run_to_end("psql", &mut psql).await {
        Err(Error::CommandFailed { message, .. }) if message.contains("password authentication failed") => {
            return Err(Error::Unusable(format!(
                "the data in {} was created with another password than the stored one. Restore the file \
                 secrets/postgres-password, or move both away to start without data",
                settings.home.display()
            )));
        }
        result => result?,
    };
    if databases.lines().any(|database| database == name) {
        return Ok(());
    }
    let mut createdb = client(settings, "createdb");
    createdb.args(["--maintenance-db", "postgres", name]);
    run_to_end("createdb", &mut createdb).await.map(drop)
}

/// A client program with the options to log in to this server.
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

/// The user's `PGHOST` or `PGSSLMODE` is for another server.
fn without_postgres_variables(command: &mut Command) -> &mut Command {
    let is_postgres = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("PG"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_postgres(name)) {
        command.env_remove(name);
    }
    command
}
