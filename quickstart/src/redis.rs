//! A private Redis: a server of its own on 127.0.0.1.
//!
//! The durable one appends every write to a file and asks for a password; the
//! ephemeral one keeps nothing and asks for none.

mod probe;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
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
use crate::secret::{Secret, write_private};

/// How often a start is tried on another port when the port was taken between
/// choosing and listening.
const PORT_TRIES: usize = 3;

/// How long a stop may take before the server is killed.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program.
    pub server: PathBuf,
    /// The folder of its data and configuration, made at the first start.
    pub home: PathBuf,
    /// Where the server's log goes.
    pub log: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// What clients must give, if anything.
    pub password: Option<Secret>,
    /// Whether writes are appended to a file, to be there after a restart.
    pub keeps_data: bool,
    /// How long to wait until it answers.
    pub ready_within: Duration,
    /// Where to note the process id for the next start.
    pub pid_file: Option<PathBuf>,
    /// Whether the server ends when the thread that starts it ends.
    pub tied_to_us: bool,
}

/// A running private server, stopped when dropped. Must be used within the
/// Tokio runtime that started it.
#[derive(Debug)]
pub struct Redis {
    settings: Settings,
    process: Option<Process>,
    scratch: Option<Scratch>,
}

impl Redis {
    /// Starts a server that keeps nothing, without a password, in a temporary
    /// folder and on a port of its own: for tests.
    pub async fn ephemeral() -> Result<Self> {
        Self::ephemeral_from(&packages::find_here()?.redis_server, false).await
    }

    /// The same with the given program.
    pub(crate) async fn ephemeral_from(server: &Path, tied_to_us: bool) -> Result<Self> {
        let scratch = Scratch::new(Owner::of_services()?)?;
        let settings = Settings {
            server: server.to_owned(),
            home: scratch.path().join("redis"),
            log: scratch.path().join("redis.log"),
            port: ports::any_free()?,
            password: None,
            keeps_data: false,
            ready_within: Duration::from_secs(30),
            pid_file: None,
            tied_to_us,
        };
        let mut redis = Self {
            settings,
            process: None,
            scratch: Some(scratch),
        };
        for left in (0..PORT_TRIES).rev() {
            match redis.launch().await {
                Err(Error::Ended { .. }) if left > 0 && !ports::is_free(redis.settings.port) => {
                    redis.settings.port = ports::any_free()?;
                }
                ended => {
                    ended?;
                    break;
                }
            }
        }
        Ok(redis)
    }

    /// Starts a server on the settings' folder.
    pub async fn start(settings: Settings) -> Result<Self> {
        logs::rotate(&settings.log)?;
        let mut redis = Self {
            settings,
            process: None,
            scratch: None,
        };
        redis.launch().await?;
        Ok(redis)
    }

    async fn launch(&mut self) -> Result<()> {
        let owner = Owner::of_services()?;
        let spec = self.spec(owner, self.write_config(owner)?);
        let mut process = Process::spawn(&spec)?;
        self.wait_ready(&mut process).await?;
        self.process = Some(process);
        Ok(())
    }

    fn spec(&self, owner: Option<Owner>, config: PathBuf) -> Spec {
        let settings = &self.settings;
        Spec {
            name: "redis-server".to_owned(),
            program: settings.server.clone(),
            args: vec![config.into_os_string()],
            env: Vec::new(),
            env_without: &["OPENAI_", "JWT_"],
            dir: settings.home.clone(),
            log: settings.log.clone(),
            run_as: owner,
            stop_signal: Signal::SIGTERM,
            pid_file: settings.pid_file.clone(),
            tied_to_us: settings.tied_to_us,
        }
    }

    /// The password stands in a file that only the server's user can read, not
    /// in the arguments, which everybody on the machine can see.
    fn write_config(&self, owner: Option<Owner>) -> Result<PathBuf> {
        let Settings {
            home,
            port,
            password,
            keeps_data,
            ..
        } = &self.settings;
        if !home.is_dir() {
            DirBuilder::new()
                .mode(0o700)
                .create(home)
                .map_err(Error::path("create", home))?;
        }
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            "protected-mode yes".to_owned(),
            format!("port {port}"),
            format!("dir {}", quoted(home)?),
            "daemonize no".to_owned(),
            "save \"\"".to_owned(),
            format!("appendonly {}", if *keeps_data { "yes" } else { "no" }),
        ];
        lines.extend(
            password
                .iter()
                .map(|password| format!("requirepass {}", password.expose())),
        );
        let config = home.join("redis.conf");
        write_private(&config, &(lines.join("\n") + "\n"))?;
        if let Some(owner) = owner {
            owner.take(&config)?;
            owner.take_tree(home)?;
        }
        Ok(config)
    }

    async fn wait_ready(&self, process: &mut Process) -> Result<()> {
        let Settings {
            port,
            password,
            ready_within,
            ..
        } = &self.settings;
        let until = Instant::now() + *ready_within;
        while Instant::now() < until {
            if let Some(status) = process.ended()? {
                return Err(process.fault_of_end(status));
            }
            if let Some(pid) = process.pid()
                && probe::answers(*port, password.as_ref(), pid).await
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(process.not_ready(*ready_within, "it does not answer PING yet"))
    }

    /// The server's URL, password included.
    pub fn url(&self) -> String {
        let Settings { port, password, .. } = &self.settings;
        match password {
            Some(password) => format!("redis://default:{}@127.0.0.1:{port}", password.expose()),
            None => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.settings.port
    }

    /// Where the log lies.
    pub fn log(&self) -> &Path {
        &self.settings.log
    }

    /// The server's process, while it runs.
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

    /// Stops the server in good order.
    pub async fn stop(&mut self) -> Result<()> {
        self.stop_by(Signal::SIGTERM).await
    }

    /// Kills the server on the spot (SIGKILL).
    pub async fn crash(&mut self) -> Result<()> {
        self.stop_by(Signal::SIGKILL).await
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
        self.launch().await
    }

    /// Stops the server in good order and starts it again on the same port. An
    /// ephemeral one has forgotten everything then.
    pub async fn restart(&mut self) -> Result<()> {
        self.start_again().await
    }

    /// Freezes the server (SIGSTOP): connections stay open and nothing answers.
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

impl Drop for Redis {
    fn drop(&mut self) {
        // In this order: the server first, then the folder it lives in.
        drop(self.process.take());
        drop(self.scratch.take());
    }
}

/// A path as Redis's configuration wants it.
fn quoted(path: &Path) -> Result<String> {
    let path = fs::canonicalize(path).map_err(Error::path("find", path))?;
    let text = path.to_str().ok_or_else(|| {
        Error::Unusable(format!(
            "the folder's name is not UTF-8, which Redis needs: {}",
            path.display()
        ))
    })?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
