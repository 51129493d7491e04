//! A private Redis on 127.0.0.1.
//!
//! A durable server appends every write to a file and requires a password. An ephemeral one keeps no data and requires
//! none.

mod probe;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::server::{Basics, Kind, Server};
use crate::error::{Error, Result};
use crate::files::owner::Owner;
use crate::files::secret::{Secret, write_private};
use crate::packages::Found;
use crate::process::child::{Environment, Spec};

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The path of `redis-server`.
    pub server: PathBuf,
    /// The directory of data and configuration, which the first start creates.
    pub home: PathBuf,
    /// The log file.
    pub log: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The password that clients need, if any.
    pub password: Option<Secret>,
    /// Whether data survives a restart: writes are appended to a file.
    pub keeps_data: bool,
    /// How long the server may take until it is ready.
    pub ready_within: Duration,
    /// The file that records the process id for the next start.
    pub pid_file: Option<PathBuf>,
    /// Whether the server stops when the thread that starts it ends.
    pub tied_to_us: bool,
}

/// A running private Redis. Dropping it stops it. Only usable in the Tokio runtime that started it.
///
/// A crash is a SIGKILL. An ephemeral server is empty after a restart. While a server is paused, connections stay open
/// and get no answers.
pub type Redis = Server<Settings>;

impl Kind for Settings {
    const STOP_GRACE: Duration = Duration::from_secs(15);
    const CRASH: Signal = Signal::SIGKILL;
    const NOT_READY: &'static str = "it does not answer PING yet";

    fn ephemeral(found: &Found, dir: &Path, port: u16, tied_to_us: bool) -> Result<Self> {
        Ok(Self {
            server: found.redis_server.clone(),
            home: dir.join("redis"),
            log: dir.join("redis.log"),
            port,
            password: None,
            keeps_data: false,
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

    fn spec(&self) -> Result<Spec> {
        let owner = Owner::of_services()?;
        let config = self.write_config(owner)?;
        Ok(Spec {
            name: "redis-server".to_owned(),
            program: self.server.clone(),
            args: vec![config.into_os_string()],
            env: Vec::new(),
            inherited: Environment::AllExcept(&["OPENAI_", "JWT_"]),
            dir: self.home.clone(),
            log: self.log.clone(),
            run_as: owner,
            stop_signal: Signal::SIGTERM,
            pid_file: self.pid_file.clone(),
            tied_to_us: self.tied_to_us,
        })
    }

    async fn is_ready(&self, pid: u32) -> bool {
        probe::is_ready(self.port, self.password.as_ref(), pid).await
    }
}

impl Settings {
    /// Writes the password to a file that only the server's user can read. Every user can see the arguments.
    fn write_config(&self, owner: Option<Owner>) -> Result<PathBuf> {
        let Self {
            home,
            port,
            password,
            keeps_data,
            ..
        } = self;
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
            owner.chown(&config)?;
            owner.chown_tree(home)?;
        }
        Ok(config)
    }
}

impl Redis {
    /// The URL of the server, with the password.
    pub fn url(&self) -> String {
        let Settings { port, password, .. } = &self.settings;
        match password {
            Some(password) => format!("redis://default:{}@127.0.0.1:{port}", password.expose()),
            None => format!("redis://127.0.0.1:{port}"),
        }
    }
}

/// Quotes a path for the configuration file.
fn quoted(path: &Path) -> Result<String> {
    let path = fs::canonicalize(path).map_err(Error::path("find", path))?;
    let text = path.to_str().ok_or_else(|| {
        Error::Unusable(format!(
            "the name of the directory is not UTF-8, which Redis requires: {}",
            path.display()
        ))
    })?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
