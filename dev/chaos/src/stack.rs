//! Everything that runs in a round: Postgres, Redis and proxies to them, the model, an MCP server, two APIs and three
//! workers. The second API and the third worker use the proxies.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use errand_devstack::{
    Error, Postgres, Redis,
    cargo::BuildProfile,
    files::secret::Secret,
    packages, ports, print,
    process::supervisor::RestartPolicy,
    programs::{self, Launcher, Programs},
    services::{Services, Urls},
    stack::Stack as Supervised,
};
use errand_fake_mcp::McpFixture;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::sync::Mutex;

use crate::{
    Result,
    failpoint::{FEATURES, FILE_VARIABLE},
    model::Model,
    program::Program,
    proxy::Proxy,
    workdir::Workdir,
};

/// Settings that differ from the programs' defaults.
const SETTINGS: &[(&str, &str)] = &[
    // The load comes from few users and one address.
    ("RATE_LIMIT_CHAT_PER_MINUTE", "0"),
    ("RATE_LIMIT_AUTH_PER_MINUTE", "0"),
    // An endless answer must end during the round.
    ("MODEL_TIMEOUT_MS", "15000"),
    ("LOG_FORMAT", "json"),
    // Logs each request, to find those whose answers were lost.
    ("RUST_LOG", "info,errand_api::http::request_id=debug"),
];

/// An agent whose tasks are added only with approval.
pub(crate) const APPROVAL_AGENT: &str = "careful";

/// The agent in the agents file.
const APPROVAL_AGENT_CONFIG: &str =
    "[agents.careful]\nprompt = \"You keep a list of tasks.\"\napprove = [\"add_task\"]\n";

/// The size of the connection pools of the second API and the third worker, small enough to be exhausted.
const SMALL_POOL: &str = "2";

/// How long a part may take until it is ready.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// How long after its exit a program is started again.
const RESTART_DELAY: Duration = Duration::from_millis(100);

/// A running round.
#[derive(Debug)]
pub(crate) struct Stack {
    // Dropped in this order: the programs before what they use.
    supervised: Supervised,
    pub(crate) model: Model,
    /// An MCP server whose tools have effects outside Errand. It suffers no faults.
    pub(crate) mcp_server: McpFixture,
    pub(crate) apis: Vec<Program>,
    pub(crate) workers: Vec<Program>,
    pub(crate) postgres_proxy: Proxy,
    pub(crate) redis_proxy: Proxy,
    pub(crate) api_ports: Vec<u16>,
    pub(crate) postgres: Mutex<Postgres>,
    pub(crate) redis: Mutex<Redis>,
    launcher: Launcher,
    api_program: PathBuf,
    workdir: Workdir,
}

/// Compiles the programs with failpoints and copies them, so that another build does not change a running round.
async fn build(dir: &Path, mutation: Option<&str>) -> Result<Programs> {
    let mut features = FEATURES.to_vec();
    features.extend(mutation);
    let built = Programs::build(BuildProfile::Dev, true, &features).await?;
    let model = built.model.ok_or("cargo built no model")?;
    for (program, name) in [
        (&built.api, "errand-api"),
        (&built.worker, "errand-worker"),
        (&model, "errand-model"),
    ] {
        fs::copy(program, dir.join(name))?;
    }
    Ok(Programs::in_dir(dir, true)?)
}

impl Stack {
    /// Builds and starts everything. `mutation` is a cargo feature that breaks a guarantee.
    pub(crate) async fn start(seed: u64, keep: bool, mutation: Option<&str>) -> Result<Self> {
        let workdir = Workdir::new(keep)?;
        let built = build(&workdir.path, mutation).await?;
        let Services { postgres, redis } =
            Services::in_dir(&packages::find_here()?, &workdir.path, false).await?;
        let postgres_proxy = Proxy::start(postgres.port()).await?;
        let redis_proxy = Proxy::start(redis.port()).await?;
        let launcher = Launcher {
            // Contains no `.env` file.
            dir: workdir.path.clone(),
            log_dir: workdir.path.clone(),
            pid_dir: None,
            urls: Urls {
                database: postgres.url(),
                redis: redis.url(),
            },
            jwt_secret: Secret::random(32)?,
            env: Vec::new(),
            inherits_env: false,
            ready_within: READY_WITHIN,
            tied_to_us: false,
        };
        let mut supervised = Supervised::new(None, RestartPolicy::Always(RESTART_DELAY), |_| {});
        let model_port = ports::any_free()?;
        supervised
            .start_model(model_program(&launcher, &built, model_port, seed)?)
            .await?;
        let mut stack = Self {
            supervised,
            model: Model::new(model_port),
            mcp_server: McpFixture::start(),
            apis: Vec::new(),
            workers: Vec::new(),
            postgres_proxy,
            redis_proxy,
            api_ports: Vec::new(),
            postgres: Mutex::new(postgres),
            redis: Mutex::new(redis),
            launcher,
            api_program: built.api.clone(),
            workdir,
        };
        fs::write(
            stack.agents_file(),
            stack.mcp_server.agents_file("") + APPROVAL_AGENT_CONFIG,
        )?;
        stack.launch_programs(&built, model_port)?;
        Ok(stack)
    }

    fn launch_programs(&mut self, built: &Programs, model_port: u16) -> Result<()> {
        let direct = self.launcher.clone();
        let through_proxies = Launcher {
            urls: Urls {
                database: self.postgres_proxy.redirect(&direct.urls.database),
                redis: self.redis_proxy.redirect(&direct.urls.redis),
            },
            ..direct.clone()
        };
        for (name, launcher) in [("api-1", &direct), ("api-2", &through_proxies)] {
            let port = ports::any_free()?;
            self.api_ports.push(port);
            let program = launcher.api(name, &built.api, port, ports::any_free()?);
            let api = self.launch(program)?;
            self.apis.push(api);
        }
        for (name, launcher) in [
            ("worker-1", &direct),
            ("worker-2", &direct),
            ("worker-3", &through_proxies),
        ] {
            let program = launcher.worker(name, &built.worker, ports::any_free()?, Some(model_port));
            let worker = self.launch(program)?;
            self.workers.push(worker);
        }
        Ok(())
    }

    fn launch(&mut self, program: programs::Program) -> Result<Program> {
        let failpoint_file = self.workdir.path.join(format!("{}.failpoint", program.name()));
        let mut program = program
            .env("AGENTS_FILE", self.agents_file())
            .env(FILE_VARIABLE, failpoint_file.clone());
        for (name, value) in SETTINGS {
            program = program.env(name, *value);
        }
        if ["api-2", "worker-3"].contains(&program.name()) {
            program = program.env("DATABASE_POOL_SIZE", SMALL_POOL);
        }
        let supervised = self.supervised.launch_program(program)?;
        Ok(Program::new(supervised, failpoint_file))
    }

    fn agents_file(&self) -> PathBuf {
        self.workdir.path.join("agents.toml")
    }

    /// All programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.apis.iter().chain(&self.workers)
    }

    /// A connection to Postgres that may write even if the database is read-only by default.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        let options = PgConnectOptions::from_str(&self.launcher.urls.database)?
            .options([("default_transaction_read_only", "off")]);
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// Executes SQL statements.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Reads the rows of an SQL query.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<PgRow>> {
        let mut connection = self.connect().await?;
        Ok(sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await?)
    }

    /// Sends Redis a command.
    pub(crate) async fn redis_command(&self, words: &[&str]) -> Result<()> {
        let client = redis::Client::open(self.launcher.urls.redis.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        Ok(command.query_async(&mut connection).await?)
    }

    /// Runs `errand-api verify`. Returns whether the stored data is consistent, and the output.
    pub(crate) async fn verify(&self) -> Result<(bool, String)> {
        match self.launcher.run_api(&self.api_program, &["verify"]).await {
            Ok(output) => Ok((true, output)),
            Err(Error::CommandFailed { message, .. }) => Ok((false, message)),
            Err(error) => Err(error.into()),
        }
    }

    /// Stops the programs and the model by SIGTERM.
    pub(crate) async fn stop_programs(&mut self) {
        if let Err(error) = self.supervised.stop_programs().await {
            print::error_line(&error.to_string());
        }
    }

    /// Stops everything.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.stop_programs().await;
        let redis = self.redis.into_inner().stop().await;
        self.postgres.into_inner().stop().await?;
        Ok(redis?)
    }
}

fn model_program(launcher: &Launcher, built: &Programs, port: u16, seed: u64) -> Result<programs::Program> {
    let program = built.model.as_deref().ok_or("there is no model program")?;
    Ok(launcher
        .model("model", program, port)
        .arg("--control")
        .arg("--record=0")
        .arg("--latency=uniform:20..150")
        // Long enough answers can be interrupted.
        .arg("--token-delay-ms=15")
        .arg(format!("--seed={seed}")))
}
