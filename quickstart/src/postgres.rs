//! A private Postgres: a cluster of its own, on 127.0.0.1, with a password.
//!
//! It listens on one TCP port and on no socket, so that its URL is the same
//! whatever the folder's name. Who starts it says whether it keeps its data.

mod cluster;
mod initdb;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::logs;
use crate::owner::Owner;
use crate::packages;
use crate::ports;
use crate::process::{Process, Spec};
use crate::scratch::Scratch;
use crate::secret::Secret;

/// The database user, its cluster's superuser, and the name of the database.
pub const NAME: &str = "errand";

/// How often a start is tried on another port when the port was taken between
/// choosing and listening.
const PORT_TRIES: usize = 3;

/// How long a fast stop may take before the server is killed.
const STOP_GRACE: Duration = Duration::from_secs(30);

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

/// A running private server, stopped when dropped. Must be used within the
/// Tokio runtime that started it.
#[derive(Debug)]
pub struct Postgres {
    settings: Settings,
    process: Option<Process>,
    scratch: Option<Scratch>,
}

impl Postgres {
    /// Starts a server that keeps nothing, in a temporary folder and on a port
    /// of its own: for tests.
    pub async fn ephemeral() -> Result<Self> {
        Self::ephemeral_from(&packages::find_here()?.postgres_bin, false).await
    }

    /// The same with the given programs.
    pub(crate) async fn ephemeral_from(bin: &Path, tied_to_us: bool) -> Result<Self> {
        let scratch = Scratch::new(Owner::of_services()?)?;
        let settings = Settings {
            bin: bin.to_owned(),
            home: scratch.path().join("postgres"),
            log: scratch.path().join("postgres.log"),
            port: ports::any_free()?,
            password: Secret::random(16)?,
            profile: Profile::Ephemeral,
            ready_within: Duration::from_mins(1),
            pid_file: None,
            tied_to_us,
        };
        let mut postgres = Self {
            settings,
            process: None,
            scratch: Some(scratch),
        };
        postgres.prepare().await?;
        for left in (0..PORT_TRIES).rev() {
            match postgres.launch().await {
                Err(Error::Ended { .. }) if left > 0 && !ports::is_free(postgres.settings.port) => {
                    postgres.settings.port = ports::any_free()?;
                }
                ended => {
                    ended?;
                    break;
                }
            }
        }
        postgres.create_database(NAME).await?;
        Ok(postgres)
    }

    /// Starts a server on the settings' folder, making the cluster and the
    /// database first if they are not there.
    pub async fn start(settings: Settings) -> Result<Self> {
        logs::rotate(&settings.log)?;
        let mut postgres = Self {
            settings,
            process: None,
            scratch: None,
        };
        postgres.prepare().await?;
        postgres.launch().await?;
        postgres.create_database(NAME).await?;
        Ok(postgres)
    }

    async fn prepare(&mut self) -> Result<()> {
        let settings = &mut self.settings;
        settings.bin = cluster::prepare(settings, Owner::of_services()?).await?;
        cluster::clear_stale_lock(&settings.home)
    }

    async fn launch(&mut self) -> Result<()> {
        let mut process = Process::spawn(&self.spec()?)?;
        self.wait_ready(&mut process).await?;
        self.process = Some(process);
        Ok(())
    }

    fn spec(&self) -> Result<Spec> {
        let settings = &self.settings;
        let mut options = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", settings.port),
            "unix_socket_directories=".to_owned(),
            "max_connections=300".to_owned(),
            "log_destination=stderr".to_owned(),
            "logging_collector=off".to_owned(),
            "timezone=UTC".to_owned(),
        ];
        if settings.profile == Profile::Ephemeral {
            options.extend(
                ["fsync", "synchronous_commit", "full_page_writes"].map(|name| format!("{name}=off")),
            );
        }
        let mut args = vec![OsString::from("-D"), settings.home.clone().into_os_string()];
        args.extend(
            options
                .into_iter()
                .flat_map(|option| [OsString::from("-c"), OsString::from(option)]),
        );
        Ok(Spec {
            name: "postgres".to_owned(),
            program: settings.bin.join("postgres"),
            args,
            env: Vec::new(),
            env_without: &["PG", "OPENAI_", "JWT_"],
            dir: settings.home.clone(),
            log: settings.log.clone(),
            run_as: Owner::of_services()?,
            stop_signal: Signal::SIGINT,
            pid_file: settings.pid_file.clone(),
            tied_to_us: settings.tied_to_us,
        })
    }

    async fn wait_ready(&self, process: &mut Process) -> Result<()> {
        let until = Instant::now() + self.settings.ready_within;
        while Instant::now() < until {
            if let Some(status) = process.ended()? {
                return Err(process.fault_of_end(status));
            }
            if cluster::is_ready(&self.settings.home, process.pid()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(process.not_ready(self.settings.ready_within, "it takes no connections yet"))
    }

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

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.settings.port
    }

    /// Where the log lies.
    pub fn log(&self) -> &Path {
        &self.settings.log
    }

    /// The server's main process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::pid)
    }

    /// Waits until the server ends without having been asked; gives its last
    /// lines as an error to report. For ever when it is stopped.
    pub(crate) async fn died(&mut self) -> Result<Error> {
        match &mut self.process {
            Some(process) => {
                let status = process.wait().await?;
                Ok(process.fault_of_end(status))
            }
            None => std::future::pending().await,
        }
    }

    /// Stops the server in good order: sessions are ended, everything is written.
    pub async fn stop(&mut self) -> Result<()> {
        self.stop_by(Signal::SIGINT).await
    }

    /// Stops the server as a crash would: nothing is written, and the next start
    /// recovers. What was committed is kept.
    pub async fn crash(&mut self) -> Result<()> {
        self.stop_by(Signal::SIGQUIT).await
    }

    async fn stop_by(&mut self, signal: Signal) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop_by(signal, STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Starts the stopped server again: same folder, same port, same URL.
    pub async fn start_again(&mut self) -> Result<()> {
        self.stop().await?;
        cluster::clear_stale_lock(&self.settings.home)?;
        self.launch().await
    }

    /// Stops the server in good order and starts it again: same data, same URL.
    pub async fn restart(&mut self) -> Result<()> {
        self.start_again().await
    }

    /// Freezes the server's main process (SIGSTOP): nobody new gets in. Sessions
    /// that are open go on.
    pub fn pause(&mut self) -> Result<()> {
        self.process
            .as_mut()
            .map_or(Ok(()), |process| process.signal(Signal::SIGSTOP))
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) -> Result<()> {
        self.process
            .as_mut()
            .map_or(Ok(()), |process| process.signal(Signal::SIGCONT))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // In this order: the server first, then the folder it lives in.
        drop(self.process.take());
        drop(self.scratch.take());
    }
}
