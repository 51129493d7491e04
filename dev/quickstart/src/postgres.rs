//! A private Postgres: a cluster of its own, on 127.0.0.1, with a password.
//!
//! It listens on one TCP port and on no socket, so that its URL is the same
//! whatever the folder's name. Who starts it says whether it keeps its data.

mod cluster;
mod initdb;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::Result;
use crate::owner::Owner;
use crate::packages::Found;
use crate::process::Spec;
use crate::secret::Secret;
use crate::server::{Basics, Kind, Server};

/// The database user, its cluster's superuser, and the name of the database.
pub const NAME: &str = "errand";

/// What the data is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Every commit is on disk before it is answered.
    Durable,
    /// Nothing is flushed: fast, and lost with the machine. For tests.
    Ephemeral,
}

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of the Postgres programs.
    pub bin: PathBuf,
    /// The cluster's folder, made at the first start.
    pub home: PathBuf,
    /// Where the server's log goes.
    pub log: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The superuser's password, set when the cluster is made.
    pub password: Secret,
    /// What the data is worth.
    pub profile: Profile,
    /// How long to wait until it takes connections.
    pub ready_within: Duration,
    /// Where to note the process id for the next start.
    pub pid_file: Option<PathBuf>,
    /// Whether the server ends when the thread that starts it ends.
    pub tied_to_us: bool,
}

/// A running private Postgres, stopped when dropped. Must be used within the
/// Tokio runtime that started it.
///
/// A crash (SIGQUIT) keeps what was committed. While it is paused, nobody new
/// gets in, and sessions that are open go on.
pub type Postgres = Server<Settings>;

impl Kind for Settings {
    const STOP_GRACE: Duration = Duration::from_secs(30);
    const CRASH: Signal = Signal::SIGQUIT;
    const UNREADY: &'static str = "it takes no connections yet";

    fn ephemeral(found: &Found, folder: &Path, port: u16, tied_to_us: bool) -> Result<Self> {
        Ok(Self {
            bin: found.postgres_bin.clone(),
            home: folder.join("postgres"),
            log: folder.join("postgres.log"),
            port,
            password: Secret::random(16)?,
            profile: Profile::Ephemeral,
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

    fn move_to(&mut self, port: u16) {
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
        if self.profile == Profile::Ephemeral {
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
            env_without: &["PG", "OPENAI_", "JWT_"],
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

    async fn complete(&self) -> Result<()> {
        cluster::create_database(self, NAME).await
    }
}

impl Postgres {
    /// Makes a database of this name if it is not there.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        cluster::create_database(&self.settings, name).await
    }

    /// The URL of the database `errand`, password included.
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
