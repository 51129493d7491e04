//! All that runs in a round: the stores, the ways to them, the model, two APIs and three workers.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use errand_model::{Behaviour, Latency, Options, Script, Server};
use errand_quickstart::{cargo, packages, ports, postgres, redis as private_redis, secret::Secret};
use errand_shared::lifecycle::Lifecycle;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::sync::Mutex;

use crate::{
    Result,
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
/// Connections of the second API and the third worker, so that their pools run dry.
const TINY_POOL: &str = "2";
/// How long Postgres and Redis may take to start.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Everything.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) postgres: Mutex<postgres::Postgres>,
    pub(crate) redis: Mutex<private_redis::Redis>,
    pub(crate) model: Server,
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
    let mut features = vec!["errand-api/kill-points", "errand-worker/kill-points"];
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

impl Stack {
    /// Builds and starts everything. `sabotage` is a feature of the worker.
    pub(crate) async fn start(seed: u64, keep: bool, sabotage: Option<&str>) -> Result<Self> {
        let folder = Folder::new(keep)?;
        let (api_program, worker_program) = build(&folder.path, sabotage).await?;
        let found = packages::find_here()?;
        let postgres = postgres::Postgres::start(postgres::Settings {
            bin: found.postgres_bin,
            home: folder.path.join("postgres"),
            log: folder.path.join("postgres.log"),
            port: ports::any_free()?,
            password: Secret::random(16)?,
            profile: postgres::Profile::Durable,
            ready_within: READY_WITHIN,
            pid_file: None,
            tied_to_us: false,
        })
        .await?;
        let redis = private_redis::Redis::start(private_redis::Settings {
            server: found.redis_server,
            home: folder.path.join("redis"),
            log: folder.path.join("redis.log"),
            port: ports::any_free()?,
            password: None,
            keeps_data: false,
            ready_within: READY_WITHIN,
            pid_file: None,
            tied_to_us: false,
        })
        .await?;
        let lifecycle = Lifecycle::new();
        let model = Server::start(Options {
            latency: Latency::Uniform(20.0, 150.0),
            seed: Some(seed),
            record: 0,
            ..Options::default()
        })
        .await?;
        let to_postgres = Proxy::start(postgres.port(), &lifecycle).await?;
        let to_redis = Proxy::start(redis.port(), &lifecycle).await?;
        let (database_url, redis_url) = (postgres.url(), redis.url());
        let through = |url: &str, port: u16, proxy: &Proxy| {
            url.replace(&format!(":{port}"), &format!(":{}", proxy.address.port()))
        };
        let far = [
            through(&database_url, postgres.port(), &to_postgres),
            through(&redis_url, redis.port(), &to_redis),
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
        };
        for number in 1..=5 {
            let is_api = number <= 2;
            let is_far = number == 2 || number == 5;
            let mut env: Vec<_> = SETTINGS
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let [database, redis] = if is_far { &far } else { &near };
            env.extend([
                pair("DATABASE_URL", database),
                pair("REDIS_URL", redis),
                pair("LOG_FORMAT", "json"),
                pair("ADMIN_LISTEN_ADDR", &format!("127.0.0.1:{}", ports::any_free()?)),
            ]);
            if is_far {
                env.push(pair("DATABASE_POOL_SIZE", TINY_POOL));
            }
            let (name, program) = if is_api {
                let address = format!("127.0.0.1:{}", ports::any_free()?);
                env.push(pair("LISTEN_ADDR", &address));
                env.push(pair("JWT_SECRET", secret.expose()));
                stack.api_urls.push(format!("http://{address}"));
                (format!("api-{number}"), &api_program)
            } else {
                env.push(pair("OPENAI_BASE_URL", &stack.model.base_url()));
                (format!("worker-{}", number - 2), &worker_program)
            };
            let spec = Spec {
                name,
                program: program.clone(),
                env,
                folder: stack.folder.path.clone(),
            };
            let kept = Program::keep(spec, &stack.lifecycle);
            if is_api {
                stack.apis.push(kept)
            } else {
                stack.workers.push(kept)
            }
        }
        Ok(stack)
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
        let client = redis::Client::open(self.redis_url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::Cmd::new();
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

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The round's folder, removed at the end unless it is to be kept.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: bool) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("errand-faults-{}", Secret::random(6)?.expose()));
        fs::create_dir(&path)?;
        // Root hands Postgres to another user, who must get in.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        if keep {
            crate::say::say(&format!("logs and data: {}", path.display()));
        }
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What can't be removed is in the system's temporary folder.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
