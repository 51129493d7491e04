//! All that runs in a round: the stores, the ways to them, the model, two APIs and three workers.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use errand_model::{Behaviour, Latency, Options, Script, Server};
use errand_quickstart::{
    cargo, packages, ports,
    postgres::{self, Postgres},
    redis::{self, Redis},
    secret::Secret,
};
use errand_shared::service::lifecycle::Lifecycle;
use errand_testkit::McpFixture;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::sync::Mutex;

use crate::{
    Result,
    folder::Folder,
    process::{Program, Spec},
    proxy::Proxy,
};

/// What differs from the programs' defaults, and why, as the report shows it.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    // The load comes from few users and one address.
    ("RATE_LIMIT_CHAT_PER_MINUTE", "0"),
    ("RATE_LIMIT_AUTH_PER_MINUTE", "0"),
    // So that an endless answer ends while the round lasts.
    ("MODEL_TIMEOUT_MS", "15000"),
];
/// An agent whose tasks are added only with their user's consent.
pub(crate) const CAREFUL_AGENT: &str = "careful";
/// What the file of agents says of that one.
const CAREFUL: &str = "[agents.careful]\nprompt = \"You keep a list of tasks.\"\napprove = [\"add_task\"]\n";
/// Connections of the second API and the third worker, so that their pools run dry.
const TINY_POOL: &str = "2";
/// How long Postgres and Redis may take to start.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Everything.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) postgres: Mutex<Postgres>,
    pub(crate) redis: Mutex<Redis>,
    pub(crate) model: Server,
    /// Somebody else's MCP server, on which nothing is inflicted.
    pub(crate) shop: McpFixture,
    pub(crate) apis: Vec<Program>,
    pub(crate) workers: Vec<Program>,
    /// The ways of the second API and the third worker.
    pub(crate) to_postgres: Proxy,
    pub(crate) to_redis: Proxy,
    pub(crate) api_urls: Vec<String>,
    api_program: PathBuf,
    database_url: String,
    redis_url: String,
    lifecycle: Lifecycle,
    folder: Folder,
}

/// Compiles the programs with the features and copies them, so that another build does not change a running round.
async fn build(folder: &Path, sabotage: Option<&str>) -> Result<(PathBuf, PathBuf)> {
    let mut features = vec!["errand-api/failpoints", "errand-worker/failpoints"];
    features.extend(sabotage);
    let built = cargo::build_with_features(&["errand-api", "errand-worker"], &features).await?;
    let mut copies = Vec::new();
    for (program, name) in built.iter().zip(["errand-api", "errand-worker"]) {
        let copy = folder.join(name);
        fs::copy(program, &copy)?;
        copies.push(copy);
    }
    match copies.as_slice() {
        [api, worker] => Ok((api.clone(), worker.clone())),
        _ => Err("cargo built no programs".into()),
    }
}

/// A Postgres that flushes its commits, so that a crash shows what was promised too early.
async fn private_postgres(folder: &Path) -> Result<Postgres> {
    let settings = postgres::Settings {
        bin: packages::find_here()?.postgres_bin,
        home: folder.join("postgres"),
        log: folder.join("postgres.log"),
        port: ports::any_free()?,
        password: Secret::random(16)?,
        profile: postgres::Profile::Durable,
        ready_within: READY_WITHIN,
        pid_file: None,
        tied_to_us: false,
    };
    Ok(Postgres::start(settings).await?)
}

/// A Redis that has forgotten everything after a restart.
async fn private_redis(folder: &Path) -> Result<Redis> {
    let settings = redis::Settings {
        server: packages::find_here()?.redis_server,
        home: folder.join("redis"),
        log: folder.join("redis.log"),
        port: ports::any_free()?,
        password: None,
        keeps_data: false,
        ready_within: READY_WITHIN,
        pid_file: None,
        tied_to_us: false,
    };
    Ok(Redis::start(settings).await?)
}

impl Stack {
    /// Builds and starts everything. `sabotage` is a feature of the worker.
    pub(crate) async fn start(seed: u64, keep: bool, sabotage: Option<&str>) -> Result<Self> {
        let folder = Folder::new(keep)?;
        let (api_program, worker_program) = build(&folder.path, sabotage).await?;
        let postgres = private_postgres(&folder.path).await?;
        let redis = private_redis(&folder.path).await?;
        let lifecycle = Lifecycle::new();
        let model = Server::start(Options {
            latency: Latency::Uniform(20.0, 150.0),
            seed: Some(seed),
            // So that answers are long enough to be broken off.
            token_delay: Duration::from_millis(15),
            record: 0,
            ..Options::default()
        })
        .await?;
        let to_postgres = Proxy::start(postgres.port(), &lifecycle).await?;
        let to_redis = Proxy::start(redis.port(), &lifecycle).await?;
        let (database_url, redis_url) = (postgres.url(), redis.url());
        let far = [
            database_url.replace(&on(postgres.port()), &on(to_postgres.address.port())),
            redis_url.replace(&on(redis.port()), &on(to_redis.address.port())),
        ];
        let near = [database_url.clone(), redis_url.clone()];
        let secret = Secret::random(32)?;
        let mut stack = Self {
            postgres: Mutex::new(postgres),
            redis: Mutex::new(redis),
            apis: Vec::new(),
            workers: Vec::new(),
            to_postgres,
            to_redis,
            api_urls: Vec::new(),
            api_program: api_program.clone(),
            database_url,
            redis_url,
            lifecycle,
            folder,
            model,
            shop: McpFixture::start(),
        };
        fs::write(stack.agents_file(), stack.shop.agents_file("") + CAREFUL)?;
        for (name, stores) in [("api-1", &near), ("api-2", &far)] {
            let address = format!("127.0.0.1:{}", ports::any_free()?);
            stack.api_urls.push(format!("http://{address}"));
            let own = [pair("LISTEN_ADDR", &address), pair("JWT_SECRET", secret.expose())];
            stack.apis.push(stack.keep(name, &api_program, stores, &own)?);
        }
        let model = [pair("OPENAI_BASE_URL", &stack.model.base_url())];
        for (name, stores) in [("worker-1", &near), ("worker-2", &near), ("worker-3", &far)] {
            stack
                .workers
                .push(stack.keep(name, &worker_program, stores, &model)?);
        }
        Ok(stack)
    }

    /// Starts a program that reaches Postgres and Redis by these URLs.
    fn keep(
        &self,
        name: &str,
        program: &Path,
        [database, redis]: &[String; 2],
        own: &[(String, String)],
    ) -> Result<Program> {
        let mut env: Vec<_> = SETTINGS.iter().map(|(name, value)| pair(name, value)).collect();
        env.extend([
            pair("DATABASE_URL", database),
            pair("REDIS_URL", redis),
            pair("AGENTS_FILE", &self.agents_file().to_string_lossy()),
            pair("LOG_FORMAT", "json"),
            // Each request, so that one whose answer was lost can be looked for.
            pair("RUST_LOG", "info,errand_api::http::request_id=debug"),
            pair("ADMIN_LISTEN_ADDR", &format!("127.0.0.1:{}", ports::any_free()?)),
        ]);
        if *database != self.database_url {
            env.push(pair("DATABASE_POOL_SIZE", TINY_POOL));
        }
        env.extend_from_slice(own);
        let spec = Spec {
            name: name.to_owned(),
            program: program.to_owned(),
            env,
            folder: self.folder.path.clone(),
        };
        Ok(Program::keep(spec, &self.lifecycle))
    }

    fn agents_file(&self) -> PathBuf {
        self.folder.path.join("agents.toml")
    }

    /// All programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.apis.iter().chain(&self.workers)
    }

    /// A connection to Postgres that may write whatever the database's default is.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        let options = PgConnectOptions::from_str(&self.database_url)?
            .options([("default_transaction_read_only", "off")]);
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// Does something in Postgres.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Reads rows.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<PgRow>> {
        let mut connection = self.connect().await?;
        Ok(sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await?)
    }

    /// Sends Redis a command.
    pub(crate) async fn redis_command(&self, words: &[&str]) -> Result<()> {
        let client = ::redis::Client::open(self.redis_url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = ::redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        Ok(command.query_async(&mut connection).await?)
    }

    /// What the model does from now on.
    pub(crate) fn model_does(&self, behaviour: Behaviour) {
        self.model.script(Script::always(behaviour));
    }

    /// The API's `verify`, if it has one: what it said, and whether all holds.
    pub(crate) async fn verify(&self) -> Result<Option<(bool, String)>> {
        let program = || tokio::process::Command::new(&self.api_program);
        let help = program().arg("--help").output().await?;
        if !String::from_utf8_lossy(&help.stdout).contains("verify") {
            return Ok(None);
        }
        let output = program()
            .arg("verify")
            .env("DATABASE_URL", &self.database_url)
            .env("REDIS_URL", &self.redis_url)
            .current_dir(&self.folder.path)
            .kill_on_drop(true)
            .output()
            .await?;
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Some((output.status.success(), said)))
    }

    /// Stops everything, the programs by SIGTERM.
    pub(crate) async fn stop(self) -> Result<()> {
        self.end_programs().await;
        self.model.shutdown().await;
        let redis = self.redis.into_inner().stop().await;
        self.postgres.into_inner().stop().await?;
        Ok(redis?)
    }

    /// SIGTERM to all programs; returns when they have ended.
    pub(crate) async fn end_programs(&self) {
        self.lifecycle.stop();
        self.lifecycle.drained(Duration::from_secs(40)).await;
    }
}

/// A port as it stands in a URL.
fn on(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
