//! Errand's own programs: how each is started, and when it is ready.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::backing::Urls;
use crate::cargo::repository;
use crate::error::Result;
use crate::folder::Folder;
use crate::http;
use crate::logs;
use crate::process::{Process, Spec, run_helper};
use crate::secret::Secret;

/// How long one question about readiness may take.
const ASK: Duration = Duration::from_secs(5);

/// What every program of this start shares.
#[derive(Debug)]
pub(super) struct Common<'a> {
    /// Where the logs and notes go.
    pub(super) folder: &'a Folder,
    /// Where Postgres and Redis are.
    pub(super) urls: Urls,
    /// Signs the users' tokens.
    pub(super) jwt_secret: Secret,
    /// How long each may take until it is ready.
    pub(super) ready_within: Duration,
}

/// What tells that a program is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// `GET /readyz` is answered with 200.
    Says200,
    /// Any answer to any request.
    Answers,
}

/// One program, to be started and started again.
#[derive(Debug, Clone)]
pub(super) struct Program {
    spec: Spec,
    port: u16,
    ready: Ready,
    ready_within: Duration,
}

impl Program {
    /// `errand-api` on its two ports.
    pub(super) fn api(common: &Common<'_>, program: PathBuf, port: u16, admin_port: u16) -> Self {
        let mut env = common.env();
        env.push(pair("LISTEN_ADDR", &local(port)));
        env.push(pair("ADMIN_LISTEN_ADDR", &local(admin_port)));
        let spec = Spec {
            env_without: &["OPENAI_"],
            ..common.spec("api", program, env)
        };
        Self {
            spec,
            port,
            ready: Ready::Says200,
            ready_within: common.ready_within,
        }
    }

    /// One `errand-worker`; `demo_model` is the demo model's port if it is used.
    pub(super) fn worker(
        common: &Common<'_>,
        program: PathBuf,
        number: u16,
        admin_port: u16,
        demo_model: Option<u16>,
    ) -> Self {
        let mut env = common.env();
        env.push(pair("ADMIN_LISTEN_ADDR", &local(admin_port)));
        if let Some(port) = demo_model {
            env.push(pair("OPENAI_BASE_URL", &format!("http://{}/v1", local(port))));
            env.push(pair("OPENAI_API_KEY", "demo"));
        }
        let spec = common.spec(&format!("worker-{number}"), program, env);
        Self {
            spec,
            port: admin_port,
            ready: Ready::Says200,
            ready_within: common.ready_within,
        }
    }

    /// The demo model.
    pub(super) fn model(common: &Common<'_>, program: PathBuf, port: u16) -> Self {
        let mut spec = common.spec("model", program, log_format());
        spec.args = vec![OsString::from("--listen"), OsString::from(local(port))];
        spec.env_without = &["OPENAI_", "JWT_", "DATABASE_URL", "REDIS_URL"];
        Self {
            spec,
            port,
            ready: Ready::Answers,
            ready_within: common.ready_within,
        }
    }

    /// The name in messages.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Starts it for the first time, with a fresh log, and waits until it is ready.
    pub(super) async fn start(&self) -> Result<Process> {
        logs::rotate(&self.spec.log)?;
        let mut process = self.spawn()?;
        self.wait_ready(&mut process).await?;
        Ok(process)
    }

    /// Starts it and waits for nothing.
    pub(super) fn spawn(&self) -> Result<Process> {
        Process::spawn(&self.spec)
    }

    async fn wait_ready(&self, process: &mut Process) -> Result<()> {
        let until = Instant::now() + self.ready_within;
        loop {
            if let Some(status) = process.ended()? {
                return Err(process.fault_of_end(status));
            }
            match self.ask().await {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() >= until => {
                    return Err(process.not_ready(self.ready_within, reason));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let path = "/readyz";
        let asked = http::send(self.port, Method::GET, path, None, None);
        match tokio::time::timeout(ASK, asked).await {
            Ok(Ok(answer)) if self.ready == Ready::Answers || answer.status == StatusCode::OK => Ok(()),
            Ok(Ok(answer)) => Err(format!("{path} says {} {}", answer.status.as_u16(), answer.body)),
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_elapsed) => Err(format!("{path} does not answer")),
        }
    }
}

impl Common<'_> {
    fn env(&self) -> Vec<(OsString, OsString)> {
        let mut env = self.urls.env();
        env.push(pair("JWT_SECRET", self.jwt_secret.expose()));
        env.extend(log_format());
        env
    }

    fn spec(&self, name: &str, program: PathBuf, env: Vec<(OsString, OsString)>) -> Spec {
        Spec {
            name: name.to_owned(),
            program,
            args: Vec::new(),
            env,
            env_without: &[],
            // Where the programs look for `.env`; what is set here wins over it.
            dir: repository(),
            log: self.folder.log(name),
            run_as: None,
            stop_signal: Signal::SIGTERM,
            pid_file: Some(self.folder.pid_file(name)),
            tied_to_us: true,
        }
    }

    /// Brings the database's schema up to date.
    pub(super) async fn migrate(&self, api: &PathBuf) -> Result<()> {
        let mut command = Command::new(api);
        command.arg("migrate").envs(self.env()).current_dir(repository());
        run_helper("errand-api migrate", &mut command).await.map(drop)
    }
}

/// Logs are read by people here, unless somebody has asked for another format;
/// a file has no colours.
fn log_format() -> Vec<(OsString, OsString)> {
    let mut env = vec![pair("NO_COLOR", "1")];
    env.extend(
        std::env::var_os("LOG_FORMAT")
            .is_none()
            .then(|| pair("LOG_FORMAT", "text")),
    );
    env
}

fn pair(name: &str, value: &str) -> (OsString, OsString) {
    (OsString::from(name), OsString::from(value))
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
