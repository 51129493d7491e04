//! A private Redis: a server of its own on 127.0.0.1.
//!
//! The durable one appends every write to a file and asks for a password; the
//! ephemeral one keeps nothing and asks for none.

mod probe;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::owner::Owner;
use crate::packages::Found;
use crate::process::Spec;
use crate::secret::{Secret, write_private};
use crate::server::{Basics, Kind, Server};

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

/// A running private Redis, stopped when dropped. Must be used within the
/// Tokio runtime that started it.
///
/// A crash kills it on the spot (SIGKILL). An ephemeral one asks for no password
/// and has forgotten everything after a restart. While it is paused, connections
/// stay open and nothing answers.
pub type Redis = Server<Settings>;

impl Kind for Settings {
    const STOP_GRACE: Duration = Duration::from_secs(15);
    const CRASH: Signal = Signal::SIGKILL;
    const UNREADY: &'static str = "it does not answer PING yet";

    fn ephemeral(found: &Found, folder: &Path, port: u16, tied_to_us: bool) -> Result<Self> {
        Ok(Self {
            server: found.redis_server.clone(),
            home: folder.join("redis"),
            log: folder.join("redis.log"),
            port,
            password: None,
            keeps_data: false,
            ready_within: Duration::from_secs(30),
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

    fn spec(&self) -> Result<Spec> {
        let owner = Owner::of_services()?;
        let config = self.write_config(owner)?;
        Ok(Spec {
            name: "redis-server".to_owned(),
            program: self.server.clone(),
            args: vec![config.into_os_string()],
            env: Vec::new(),
            env_without: &["OPENAI_", "JWT_"],
            dir: self.home.clone(),
            log: self.log.clone(),
            run_as: owner,
            stop_signal: Signal::SIGTERM,
            pid_file: self.pid_file.clone(),
            tied_to_us: self.tied_to_us,
        })
    }

    async fn is_ready(&self, pid: u32) -> bool {
        probe::answers(self.port, self.password.as_ref(), pid).await
    }
}

impl Settings {
    /// The password stands in a file that only the server's user can read, not
    /// in the arguments, which everybody on the machine can see.
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
            owner.take(&config)?;
            owner.take_tree(home)?;
        }
        Ok(config)
    }
}

impl Redis {
    /// The server's URL, password included.
    pub fn url(&self) -> String {
        let Settings { port, password, .. } = &self.settings;
        match password {
            Some(password) => format!("redis://default:{}@127.0.0.1:{port}", password.expose()),
            None => format!("redis://127.0.0.1:{port}"),
        }
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
