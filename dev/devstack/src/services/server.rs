//! A private server that can be stopped, crashed, paused and started again: what Postgres and Redis have in common.
//!
//! The settings of each server implement [`Kind`].

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::files::logs;
use crate::files::owner::Owner;
use crate::files::temp_dir::TempDir;
use crate::packages::{self, Found};
use crate::ports;
use crate::process::child::{Process, Spec};

/// The number of ports that are tried when the chosen port is taken before the server listens.
const PORT_ATTEMPTS: usize = 3;

/// What differs between Postgres and Redis. The module is private, so there are no other implementations.
pub trait Kind: Sized + Send + Sync {
    /// How long the server may take to stop before it is killed.
    const STOP_GRACE: Duration;
    /// The signal that ends the server like a crash.
    const CRASH: Signal;
    /// The reason in the error about a server that is not ready.
    const NOT_READY: &'static str;

    /// Settings of a server that keeps no data.
    fn ephemeral(found: &Found, dir: &Path, port: u16, tied_to_us: bool) -> Result<Self>;

    /// The settings that both have.
    fn basics(&self) -> Basics<'_>;

    /// Changes the port of the next start.
    fn set_port(&mut self, port: u16);

    /// Creates what the first start needs.
    fn prepare(&mut self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// How to start the server. Called before each start; also removes what a crash has left in the directory.
    fn spec(&self) -> Result<Spec>;

    /// Whether the server with this process id accepts clients.
    fn is_ready(&self, pid: u32) -> impl Future<Output = bool> + Send;

    /// Creates what needs a running server.
    fn finish_setup(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}

/// The settings that both have.
#[derive(Debug)]
pub struct Basics<'a> {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    /// The log file.
    pub(crate) log: &'a Path,
    /// How long the server may take until it is ready.
    pub(crate) ready_within: Duration,
}

/// A running private server. Dropping it stops it. Only usable in the Tokio runtime that started it.
#[derive(Debug)]
pub struct Server<K> {
    pub(crate) settings: K,
    // Dropped in this order: the server before its directory.
    process: Option<Process>,
    _temp_dir: Option<TempDir>,
}

impl<K: Kind> Server<K> {
    /// Starts a server for tests that keeps no data, in a temporary directory and on a free port.
    pub async fn ephemeral() -> Result<Self> {
        Self::ephemeral_from(&packages::find_here()?, false).await
    }

    /// Starts such a server with these programs.
    pub(crate) async fn ephemeral_from(found: &Found, tied_to_us: bool) -> Result<Self> {
        let temp_dir = TempDir::new(Owner::of_services()?)?;
        let mut server = Self {
            settings: K::ephemeral(found, temp_dir.path(), ports::any_free()?, tied_to_us)?,
            process: None,
            _temp_dir: Some(temp_dir),
        };
        server.settings.prepare().await?;
        for left in (0..PORT_ATTEMPTS).rev() {
            match server.launch().await {
                Err(Error::Exited { .. }) if left > 0 && !ports::is_free(server.port()) => {
                    server.settings.set_port(ports::any_free()?);
                }
                result => {
                    result?;
                    break;
                }
            }
        }
        server.settings.finish_setup().await?;
        Ok(server)
    }

    /// Starts a server in the directory of the settings, which the first start creates.
    pub async fn start(settings: K) -> Result<Self> {
        logs::rotate(settings.basics().log)?;
        let mut server = Self {
            settings,
            process: None,
            _temp_dir: None,
        };
        server.settings.prepare().await?;
        server.launch().await?;
        server.settings.finish_setup().await?;
        Ok(server)
    }

    async fn launch(&mut self) -> Result<()> {
        let mut process = Process::spawn(&self.settings.spec()?)?;
        self.wait_ready(&mut process).await?;
        self.process = Some(process);
        Ok(())
    }

    async fn wait_ready(&self, process: &mut Process) -> Result<()> {
        let within = self.settings.basics().ready_within;
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = process.exit_status()? {
                return Err(process.exit_error(status));
            }
            if let Some(pid) = process.pid()
                && self.settings.is_ready(pid).await
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(process.not_ready(within, K::NOT_READY))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.settings.basics().port
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        self.settings.basics().log
    }

    /// The id of the server's main process; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::pid)
    }

    /// Waits until the server exits by itself and returns an error to report. Waits forever while it is stopped.
    pub(crate) async fn exited(&mut self) -> Result<Error> {
        match &mut self.process {
            Some(process) => {
                let status = process.wait().await?;
                Ok(process.exit_error(status))
            }
            None => std::future::pending().await,
        }
    }

    /// Stops the server: it ends its sessions and writes its data to disk.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(K::STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Crashes the server: it writes nothing more, and the next start recovers.
    pub async fn crash(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop_with(K::CRASH, K::STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Starts the stopped server again with the same directory, port and URL.
    pub async fn start_again(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Stops the server and starts it again with the same directory, port and URL.
    pub async fn restart(&mut self) -> Result<()> {
        self.start_again().await
    }

    /// Pauses the server's main process (SIGSTOP): connections stay open, and no new ones are accepted.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Resumes a paused server.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process
            .as_mut()
            .map_or(Ok(()), |process| process.signal(signal))
    }
}
