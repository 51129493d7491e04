//! Errand's programs: how each is started, and when it is ready.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::cargo::{self, BuildProfile};
use crate::client::{Client, Request};
use crate::error::{Error, Result};
use crate::files::logs;
use crate::files::secret::Secret;
use crate::process::child::{Environment, Process, Spec, run_to_end};
use crate::services::Urls;

/// How long one readiness check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two readiness checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// The names of the packages, which are those of the programs.
const API: &str = "errand-api";
const WORKER: &str = "errand-worker";
const MODEL: &str = "errand-model";

/// The compiled programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// `errand-api`.
    pub api: PathBuf,
    /// `errand-worker`.
    pub worker: PathBuf,
    /// `errand-model`, if it was asked for.
    pub model: Option<PathBuf>,
}

impl Programs {
    /// Compiles the programs; `features` are `package/feature`.
    pub async fn build(profile: BuildProfile, with_model: bool, features: &[&str]) -> Result<Self> {
        let mut paths = cargo::build(&Self::names(with_model), profile, features)
            .await?
            .into_iter();
        Ok(Self {
            api: paths.next().unwrap_or_default(),
            worker: paths.next().unwrap_or_default(),
            model: paths.next(),
        })
    }

    /// Takes compiled programs from a directory.
    pub fn in_dir(dir: &Path, with_model: bool) -> Result<Self> {
        let program = |name: &str| {
            let path = dir.join(name);
            if !path.is_file() {
                return Err(Error::Unusable(format!("there is no program {}", path.display())));
            }
            std::path::absolute(&path).map_err(Error::path("find", &path))
        };
        Ok(Self {
            api: program(API)?,
            worker: program(WORKER)?,
            model: with_model.then(|| program(MODEL)).transpose()?,
        })
    }

    fn names(with_model: bool) -> Vec<&'static str> {
        let mut names = vec![API, WORKER];
        names.extend(with_model.then_some(MODEL));
        names
    }
}

/// What the programs of one stack have in common.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The directory that programs start in, where they look for `.env`.
    pub dir: PathBuf,
    /// The directory of the log files.
    pub log_dir: PathBuf,
    /// The directory of the notes about running processes, for a start after this process was killed.
    pub pid_dir: Option<PathBuf>,
    /// The addresses of Postgres and Redis.
    pub urls: Urls,
    /// Signs the users' tokens.
    pub jwt_secret: Secret,
    /// Settings of every program.
    pub env: Vec<(OsString, OsString)>,
    /// Whether programs inherit the environment of this process.
    pub inherits_env: bool,
    /// How long a program may take until it is ready.
    pub ready_within: Duration,
    /// Whether programs get SIGTERM when the thread that started them ends.
    pub tied_to_us: bool,
}

impl Launcher {
    /// `errand-api` on two ports of 127.0.0.1.
    pub fn api(&self, name: &str, program: &Path, port: u16, admin_port: u16) -> Program {
        let mut env = self.urls.env();
        env.push(pair("JWT_SECRET", self.jwt_secret.expose()));
        env.push(pair("LISTEN_ADDR", local(port)));
        env.push(pair("ADMIN_LISTEN_ADDR", local(admin_port)));
        Program {
            spec: self.spec(name, program, &["OPENAI_"], env),
            port,
            readiness: Readiness::Ok,
            ready_within: self.ready_within,
        }
    }

    /// `errand-worker`. `model` is the port of a model server that replaces the configured one.
    pub fn worker(&self, name: &str, program: &Path, admin_port: u16, model: Option<u16>) -> Program {
        let mut env = self.urls.env();
        env.push(pair("ADMIN_LISTEN_ADDR", local(admin_port)));
        if let Some(port) = model {
            env.push(pair("OPENAI_BASE_URL", format!("http://{}/v1", local(port))));
            env.push(pair("OPENAI_API_KEY", "demo"));
        }
        Program {
            spec: self.spec(name, program, &[], env),
            port: admin_port,
            readiness: Readiness::Ok,
            ready_within: self.ready_within,
        }
    }

    /// `errand-model`.
    pub fn model(&self, name: &str, program: &Path, port: u16) -> Program {
        let hidden = &["OPENAI_", "JWT_", "DATABASE_URL", "REDIS_URL"];
        let mut spec = self.spec(name, program, hidden, Vec::new());
        spec.args = vec![OsString::from("--listen"), OsString::from(local(port))];
        Program {
            spec,
            port,
            readiness: Readiness::AnyAnswer,
            ready_within: self.ready_within,
        }
    }

    /// Migrates the database to the schema of this `errand-api`.
    pub async fn migrate(&self, api: &Path) -> Result<()> {
        self.run_api(api, &["migrate"]).await.map(drop)
    }

    /// Runs a command of `errand-api` to its end and returns what it printed.
    pub async fn run_api(&self, api: &Path, args: &[&str]) -> Result<String> {
        let mut command = Command::new(api);
        if !self.inherits_env {
            command.env_clear();
        }
        command
            .args(args)
            .envs(self.urls.env())
            .env("JWT_SECRET", self.jwt_secret.expose())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir);
        run_to_end(&format!("{API} {}", args.join(" ")), &mut command).await
    }

    fn spec(
        &self,
        name: &str,
        program: &Path,
        hidden: &'static [&'static str],
        mut env: Vec<(OsString, OsString)>,
    ) -> Spec {
        env.extend_from_slice(&self.env);
        Spec {
            name: name.to_owned(),
            program: program.to_owned(),
            args: Vec::new(),
            env,
            inherited: if self.inherits_env {
                Environment::AllExcept(hidden)
            } else {
                Environment::Nothing
            },
            dir: self.dir.clone(),
            log: self.log_dir.join(format!("{name}.log")),
            run_as: None,
            stop_signal: Signal::SIGTERM,
            pid_file: self.pid_dir.as_ref().map(|dir| dir.join(format!("{name}.pid"))),
            tied_to_us: self.tied_to_us,
        }
    }
}

/// How a program shows that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    /// `GET /readyz` returns 200.
    Ok,
    /// Any request gets any answer.
    AnyAnswer,
}

/// A program that can be started, as often as needed.
#[derive(Debug, Clone)]
pub struct Program {
    spec: Spec,
    port: u16,
    readiness: Readiness,
    ready_within: Duration,
}

impl Program {
    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.spec.env.push(pair(name, value));
        self
    }

    /// Lifts the API's limits, for load from few users and one address.
    #[must_use]
    pub fn without_limits(self) -> Self {
        self.env("RATE_LIMIT_CHAT_PER_MINUTE", "0")
            .env("RATE_LIMIT_AUTH_PER_MINUTE", "0")
            .env("MAX_OPEN_RUNS_PER_USER", "0")
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.spec.args.push(argument.into());
        self
    }

    /// The program's name in messages.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The program's log file.
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// Starts the program with a new log file.
    pub(crate) fn spawn_first(&self) -> Result<Process> {
        logs::rotate(&self.spec.log)?;
        self.spawn()
    }

    /// Starts the program; its output is appended to the log file.
    pub(crate) fn spawn(&self) -> Result<Process> {
        Process::spawn(&self.spec)
    }

    /// Waits until the program is ready. Fails when it exits before that.
    pub(crate) async fn wait_until_ready(&self, process: &mut Process) -> Result<()> {
        let deadline = Instant::now() + self.ready_within;
        loop {
            if let Some(status) = process.exit_status()? {
                return Err(process.exit_error(status));
            }
            match self.check().await {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() >= deadline => {
                    return Err(process.not_ready(self.ready_within, reason));
                }
                Err(_) => tokio::time::sleep(CHECK_INTERVAL).await,
            }
        }
    }

    async fn check(&self) -> Result<(), String> {
        let request = Request::get("/readyz").timeout(CHECK_TIMEOUT);
        match Client::new(self.port).send(request).await {
            Ok(answer) if self.readiness == Readiness::AnyAnswer || answer.status == StatusCode::OK => Ok(()),
            Ok(answer) => Err(format!(
                "/readyz returned {}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            )),
            Err(error) => Err(format!("/readyz: {error}")),
        }
    }
}

fn pair(name: &str, value: impl Into<OsString>) -> (OsString, OsString) {
    (OsString::from(name), value.into())
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
