//! Everything that is measured, as processes of their own: started from the bottom, stopped from the top.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use errand_quickstart::{
    cargo,
    packages::{self, Found},
    ports,
    postgres::{self, Postgres},
    redis::Redis,
    secret::Secret,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use crate::{Result, client::Client, scenario::Scenario};

/// Stacks of this session so far; two may run at once.
static STACKS: AtomicU32 = AtomicU32::new(0);

/// How long a part may take until it is ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// The compiled programs.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) api: PathBuf,
    pub(crate) worker: PathBuf,
    pub(crate) model: PathBuf,
}

/// The running whole.
pub(crate) struct Stack {
    /// Where the API is.
    pub(crate) api: SocketAddr,
    /// Its database.
    pub(crate) database_url: String,
    /// Its Redis.
    pub(crate) redis_url: String,
    /// The folder of the Postgres programs.
    pub(crate) postgres_bin: PathBuf,
    /// Postgres itself, for databases beside the one.
    pub(crate) postgres: Postgres,
    redis: Redis,
    programs: Vec<(&'static str, Child)>,
    starts: Vec<(&'static str, Duration)>,
    folder: PathBuf,
}

impl Stack {
    /// Starts it on a fresh database.
    pub(crate) async fn start(
        programs: &Programs,
        scenario: &Scenario,
        workers: u16,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let found = packages::find_here()?;
        let folder = fresh_folder()?;
        let mut postgres = Postgres::start(durable(&found, &folder)?).await?;
        count_statements(&mut postgres).await?;
        let redis = Redis::ephemeral().await?;
        let mut stack = Self {
            api: local(ports::any_free()?),
            database_url: postgres.url(),
            redis_url: redis.url(),
            postgres_bin: found.postgres_bin,
            postgres,
            redis,
            programs: Vec::new(),
            starts: Vec::new(),
            folder,
        };
        let model = local(ports::any_free()?);
        let mut command = Command::new(&programs.model);
        command
            .arg(format!("--listen={model}"))
            .arg(format!("--latency=fixed:{}", scenario.model().as_millis()))
            .arg("--record=0");
        stack.launch("model", command, model).await?;
        let mut command = stack.command(&programs.api, settings);
        let admin = local(ports::any_free()?);
        command
            .env("LISTEN_ADDR", stack.api.to_string())
            .env("ADMIN_LISTEN_ADDR", admin.to_string())
            .env("JWT_SECRET", Secret::random(32)?.expose())
            .env("CHAT_WAIT_DEFAULT", "300")
            .env("MAX_OPEN_RUNS_PER_USER", "0")
            .env("RATE_LIMIT_CHAT_PER_MINUTE", "0")
            .env("RATE_LIMIT_AUTH_PER_MINUTE", "0");
        stack.launch("api", command, stack.api).await?;
        for _ in 0..workers {
            let admin = local(ports::any_free()?);
            let mut command = stack.command(&programs.worker, settings);
            command
                .env("ADMIN_LISTEN_ADDR", admin.to_string())
                .env("OPENAI_BASE_URL", format!("http://{model}/v1"))
                .env("WORKER_CONCURRENCY", "12000");
            stack.launch("worker", command, admin).await?;
        }
        Ok(stack)
    }

    fn command(&self, program: &Path, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program);
        command
            .env("DATABASE_URL", &self.database_url)
            .env("REDIS_URL", &self.redis_url)
            .envs(settings.iter().copied());
        command
    }

    /// Starts a program and waits until it is ready.
    async fn launch(&mut self, kind: &'static str, mut command: Command, address: SocketAddr) -> Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("{kind}.log")))?;
        let child = command
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.programs.push((kind, child));
        let began = Instant::now();
        while !Client::is_ready(address).await {
            if began.elapsed() > PATIENCE {
                return Err(format!("{kind} is not ready; see {}", self.folder.display()).into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.starts.push((kind, began.elapsed()));
        Ok(())
    }

    /// How long each program took from its start until it was ready. The API makes the schema meanwhile.
    pub(crate) fn starts(&self) -> &[(&'static str, Duration)] {
        &self.starts
    }

    /// The process ids by kind; Postgres is its first process, whose children do the work.
    pub(crate) fn pids(&self) -> Vec<(&'static str, u32)> {
        let programs = self
            .programs
            .iter()
            .filter_map(|(kind, child)| Some((*kind, child.id()?)));
        let postgres = self.postgres.pid().map(|pid| ("postgres", pid));
        let redis = self.redis.pid().map(|pid| ("redis", pid));
        programs.chain(postgres).chain(redis).collect()
    }

    /// Stops it, top down, and removes its folder.
    pub(crate) async fn stop(mut self) -> Result<()> {
        while let Some((kind, mut child)) = self.programs.pop() {
            if let Some(pid) = child.id() {
                kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?;
            }
            if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
                return Err(format!("{kind} does not stop; see {}", self.folder.display()).into());
            }
        }
        self.postgres.stop().await?;
        self.redis.stop().await?;
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

/// Has Postgres count statements, if its package can.
async fn count_statements(postgres: &mut Postgres) -> Result<()> {
    let mut connection = PgConnection::connect(&postgres.url()).await?;
    let known = sqlx::raw_sql("SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'")
        .fetch_optional(&mut connection)
        .await?;
    if known.is_some() {
        sqlx::raw_sql("ALTER SYSTEM SET shared_preload_libraries TO pg_stat_statements")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    if known.is_some() {
        postgres.restart().await?;
        let mut connection = PgConnection::connect(&postgres.url()).await?;
        sqlx::raw_sql("CREATE EXTENSION pg_stat_statements")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
    }
    Ok(())
}

fn durable(found: &Found, folder: &Path) -> Result<postgres::Settings> {
    Ok(postgres::Settings {
        bin: found.postgres_bin.clone(),
        home: folder.join("postgres"),
        log: folder.join("postgres.log"),
        port: ports::any_free()?,
        password: Secret::random(16)?,
        profile: postgres::Profile::Durable,
        ready_within: PATIENCE,
        pid_file: None,
        tied_to_us: false,
    })
}

/// A folder in the repository's own, so that its disk is the one that is measured; Postgres's user may enter it.
fn fresh_folder() -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let root = cargo::repository().join(".errand");
    let number = STACKS.fetch_add(1, Ordering::Relaxed);
    let folder = root.join(format!("lab-{}-{number}", std::process::id()));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for folder in [&root, &folder] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))?;
    }
    Ok(folder)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
