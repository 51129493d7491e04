//! A private Postgres: its own cluster on 127.0.0.1, with a password.
//!
//! It listens on one TCP port and on no Unix socket, so that its URL does not depend on the directory.

mod cluster;
mod initdb;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::server::{Basics, Kind, Server};
use crate::error::Result;
use crate::files::owner::Owner;
use crate::files::secret::Secret;
use crate::packages::Found;
use crate::process::child::{Environment, Spec};

/// The name of the database, and of the superuser who owns it.
pub const NAME: &str = "errand";

/// Whether commits survive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A commit is on disk before it is confirmed.
    Durable,
    /// Nothing is flushed to disk: fast, for tests.
    Ephemeral,
}

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory of the Postgres programs.
    pub bin: PathBuf,
    /// The directory of the cluster, which the first start creates.
    pub home: PathBuf,
    /// The log file.
    pub log: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The superuser's password, set when the cluster is created.
    pub password: Secret,
    /// Whether commits survive a crash of the machine.
    pub durability: Durability,
    /// How long the server may take until it accepts connections.
    pub ready_within: Duration,
    /// The file that records the process id for the next start.
    pub pid_file: Option<PathBuf>,
    /// Whether the server stops when the thread that starts it ends.
    pub tied_to_us: bool,
}

/// A running private Postgres. Dropping it stops it. Only usable in the Tokio runtime that started it.
///
/// A crash (SIGQUIT) keeps what was committed. A paused server accepts no new sessions, but open ones continue.
pub type Postgres = Server<Settings>;

impl Kind for Settings {
    const STOP_GRACE: Duration = Duration::from_secs(30);
    const CRASH: Signal = Signal::SIGQUIT;
    const NOT_READY: &'static str = "it accepts no connections yet";

    fn ephemeral(found: &Found, dir: &Path, port: u16, tied_to_us: bool) -> Result<Self> {
        Ok(Self {
            bin: found.postgres_bin.clone(),
            home: dir.join("postgres"),
            log: dir.join("postgres.log"),
            port,
            password: Secret::random(16)?,
            durability: Durability::Ephemeral,
            ready_within: Duration::from_mins(1),
            pid_file: None,
            tied_to_us,
        })
    }

    fn basics(&self) -> Basics<'_> {
        Basics {
            port: self.port,
            log: &self.log,
            ready_within: self.ready_within,
        }
    }

    fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    async fn prepare(&mut self) -> Result<()> {
        self.bin = cluster::prepare(self, Owner::of_services()?).await?;
        Ok(())
    }

    fn spec(&self) -> Result<Spec> {
        cluster::clear_stale_lock(&self.home)?;
        let mut options = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            "unix_socket_directories=".to_owned(),
            "max_connections=300".to_owned(),
            "log_destination=stderr".to_owned(),
            "logging_collector=off".to_owned(),
            "timezone=UTC".to_owned(),
        ];
        if self.durability == Durability::Ephemeral {
            options.extend(
                ["fsync", "synchronous_commit", "full_page_writes"].map(|name| format!("{name}=off")),
            );
        }
        let mut args = vec![OsString::from("-D"), self.home.clone().into_os_string()];
        args.extend(
            options
                .into_iter()
                .flat_map(|option| [OsString::from("-c"), OsString::from(option)]),
        );
        Ok(Spec {
            name: "postgres".to_owned(),
            program: self.bin.join("postgres"),
            args,
            env: Vec::new(),
            inherited: Environment::AllExcept(&["PG", "OPENAI_", "JWT_"]),
            dir: self.home.clone(),
            log: self.log.clone(),
            run_as: Owner::of_services()?,
            stop_signal: Signal::SIGINT,
            pid_file: self.pid_file.clone(),
            tied_to_us: self.tied_to_us,
        })
    }

    async fn is_ready(&self, pid: u32) -> bool {
        cluster::is_ready(&self.home, pid)
    }

    async fn finish_setup(&self) -> Result<()> {
        cluster::create_database(self, NAME).await
    }
}

impl Postgres {
    /// Creates a database if it does not exist.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        cluster::create_database(&self.settings, name).await
    }

    /// The URL of the database `errand`, with the password.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// The URL of another database on this server.
    pub fn url_of(&self, database: &str) -> String {
        let Settings { password, port, .. } = &self.settings;
        format!(
            "postgres://{NAME}:{}@127.0.0.1:{port}/{database}",
            password.expose()
        )
    }
}
