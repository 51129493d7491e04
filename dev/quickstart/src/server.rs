//! A private server that one may stop, crash, freeze and start again: what
//! Postgres and Redis share. What differs is a [`Kind`], the server's settings.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::logs;
use crate::owner::Owner;
use crate::packages::{self, Found};
use crate::ports;
use crate::process::{Process, Spec};
use crate::scratch::Scratch;

/// How often a start is tried on another port when the port was taken between
/// choosing and listening.
const PORT_TRIES: usize = 3;

/// What one kind of server does in its own way. Its module is closed, so nobody
/// outside can make another kind.
pub trait Kind: Sized + Send + Sync {
    /// How long a stop may take before the server is killed.
    const STOP_GRACE: Duration;
    /// What ends the server as a crash would.
    const CRASH: Signal;
    /// What is said of a server that lives but is not ready.
    const UNREADY: &'static str;

    /// A server that keeps nothing, in the given folder: for tests.
    fn ephemeral(found: &Found, folder: &Path, port: u16, tied_to_us: bool) -> Result<Self>;

    /// What the settings of every kind say.
    fn basics(&self) -> Basics<'_>;

    /// Chooses another port for the next launch.
    fn move_to(&mut self, port: u16);

    /// Makes what the first launch needs.
    fn prepare(&mut self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// How to launch the server. Called before every launch, to put the folder
    /// in order as well.
    fn spec(&self) -> Result<Spec>;

    /// Whether the server with this process id serves clients.
    fn is_ready(&self, pid: u32) -> impl Future<Output = bool> + Send;

    /// Makes what the first launch has made possible.
    fn complete(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}

/// What the settings of every kind say.
#[derive(Debug)]
pub struct Basics<'a> {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    /// Where the server's log goes.
    pub(crate) log: &'a Path,
    /// How long to wait until it is ready.
    pub(crate) ready_within: Duration,
}

/// A running private server, stopped when dropped. Must be used within the
/// Tokio runtime that started it.
#[derive(Debug)]
pub struct Server<K> {
    pub(crate) settings: K,
    // Dropped in this order: the server first, then the folder it lives in.
    process: Option<Process>,
    _scratch: Option<Scratch>,
}

impl<K: Kind> Server<K> {
    /// Starts a server that keeps nothing, in a temporary folder and on a port
    /// of its own: for tests.
    pub async fn ephemeral() -> Result<Self> {
        Self::ephemeral_from(&packages::find_here()?, false).await
    }

    /// The same with the given programs.
    pub(crate) async fn ephemeral_from(found: &Found, tied_to_us: bool) -> Result<Self> {
        let scratch = Scratch::new(Owner::of_services()?)?;
        let mut server = Self {
            settings: K::ephemeral(found, scratch.path(), ports::any_free()?, tied_to_us)?,
            process: None,
            _scratch: Some(scratch),
        };
        server.settings.prepare().await?;
        for left in (0..PORT_TRIES).rev() {
            match server.launch().await {
                Err(Error::Ended { .. }) if left > 0 && !ports::is_free(server.port()) => {
                    server.settings.move_to(ports::any_free()?);
                }
                ended => {
                    ended?;
                    break;
                }
            }
        }
        server.settings.complete().await?;
        Ok(server)
    }

    /// Starts a server on the settings' folder, making first what is not there.
    pub async fn start(settings: K) -> Result<Self> {
        logs::rotate(settings.basics().log)?;
        let mut server = Self {
            settings,
            process: None,
            _scratch: None,
        };
        server.settings.prepare().await?;
        server.launch().await?;
        server.settings.complete().await?;
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
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = process.ended()? {
                return Err(process.fault_of_end(status));
            }
            if let Some(pid) = process.pid()
                && self.settings.is_ready(pid).await
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(process.not_ready(within, K::UNREADY))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.settings.basics().port
    }

    /// Where the log lies.
    pub fn log(&self) -> &Path {
        self.settings.basics().log
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

    /// Stops the server in good order: sessions are ended, everything is written
    /// that is to be kept.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(K::STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Stops the server as a crash would: nothing more is written, and the next
    /// start recovers.
    pub async fn crash(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop_by(K::CRASH, K::STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Starts the stopped server again: same folder, same port, same URL.
    pub async fn start_again(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Stops the server in good order and starts it again: same port, same URL,
    /// and the data that it keeps.
    pub async fn restart(&mut self) -> Result<()> {
        self.start_again().await
    }

    /// Freezes the server's main process (SIGSTOP): connections stay open, and
    /// nobody new is served.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process
            .as_mut()
            .map_or(Ok(()), |process| process.signal(signal))
    }
}
