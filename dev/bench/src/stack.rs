//! The measured stack: each part is a process of its own.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use errand_devstack::{
    Postgres, Redis, cargo,
    files::secret::Secret,
    packages, ports, print,
    process::supervisor::{RestartPolicy, Supervised},
    programs::{Launcher, Program, Programs},
    services::Services,
    stack::Stack as Processes,
};
use sqlx::{Connection, PgConnection};

use crate::{Result, scenario::Scenario};

/// The number of stacks of this session. Two may run at the same time.
static STACKS: AtomicU32 = AtomicU32::new(0);

/// How long a part may take until it is ready.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// A running stack.
pub(crate) struct Stack {
    processes: Processes,
    /// Each program by kind.
    programs: Vec<(&'static str, Supervised)>,
    starts: Vec<(&'static str, Duration)>,
    /// The API's address.
    pub(crate) api: SocketAddr,
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    /// The directory of the Postgres programs.
    pub(crate) postgres_bin: PathBuf,
    /// Stopped after the programs.
    pub(crate) postgres: Postgres,
    redis: Redis,
    dir: PathBuf,
}

impl Stack {
    /// Starts a stack with an empty database.
    pub(crate) async fn start(
        built: &Programs,
        scenario: &Scenario,
        workers: u16,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let found = packages::find_here()?;
        let dir = create_dir()?;
        let Services { mut postgres, redis } = Services::in_dir(&found, &dir, false).await?;
        count_statements(&mut postgres).await?;
        let launcher = Launcher {
            dir: std::env::current_dir()?,
            log_dir: dir.clone(),
            pid_dir: None,
            urls: errand_devstack::services::Urls {
                database: postgres.url(),
                redis: redis.url(),
            },
            jwt_secret: Secret::random(32)?,
            env: vec![("RUST_LOG".into(), "warn".into())],
            inherits_env: true,
            ready_within: READY_WITHIN,
            tied_to_us: false,
        };
        let api_port = ports::any_free()?;
        let mut stack = Self {
            processes: Processes::new(None, RestartPolicy::Never, print::error_line),
            programs: Vec::new(),
            starts: Vec::new(),
            api: SocketAddr::from(([127, 0, 0, 1], api_port)),
            database_url: postgres.url(),
            redis_url: redis.url(),
            postgres_bin: found.postgres_bin,
            postgres,
            redis,
            dir,
        };
        let model_port = ports::any_free()?;
        let model = built.model.as_deref().ok_or("there is no model program")?;
        let model = launcher
            .model("model", model, model_port)
            .arg(format!("--latency=fixed:{}", scenario.model().as_millis()))
            .arg("--record=0");
        stack.start_program("model", model).await?;
        let api = launcher
            .api("api", &built.api, api_port, ports::any_free()?)
            .without_limits()
            .env("CHAT_WAIT_DEFAULT", "300");
        stack.start_program("api", with(api, settings)).await?;
        for number in 1..=workers {
            let name = format!("worker-{number}");
            let worker = launcher
                .worker(&name, &built.worker, ports::any_free()?, Some(model_port))
                .env("WORKER_CONCURRENCY", "12000");
            stack.start_program("worker", with(worker, settings)).await?;
        }
        Ok(stack)
    }

    /// Starts a program and waits until it is ready.
    async fn start_program(&mut self, kind: &'static str, program: Program) -> Result<()> {
        let began = Instant::now();
        let supervised = if kind == "model" {
            self.processes.start_model(program).await?
        } else {
            self.processes.start_program(program).await?
        };
        self.starts.push((kind, began.elapsed()));
        self.programs.push((kind, supervised));
        Ok(())
    }

    /// How long each program took until it was ready. The time of the API includes the migration of the database.
    pub(crate) fn starts(&self) -> &[(&'static str, Duration)] {
        &self.starts
    }

    /// The process ids by kind. Postgres is its main process, whose children do the work.
    pub(crate) fn pids(&self) -> Vec<(&'static str, u32)> {
        let programs = self
            .programs
            .iter()
            .filter_map(|(kind, program)| Some((*kind, program.pid()?)));
        let postgres = self.postgres.pid().map(|pid| ("postgres", pid));
        let redis = self.redis.pid().map(|pid| ("redis", pid));
        programs.chain(postgres).chain(redis).collect()
    }

    /// Stops everything and removes the directory.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.processes.stop_programs().await?;
        if let Some(error) = self
            .programs
            .iter()
            .flat_map(|(_, program)| program.errors())
            .next()
        {
            return Err(format!("{error} See {}.", self.dir.display()).into());
        }
        self.postgres.stop().await?;
        self.redis.stop().await?;
        std::fs::remove_dir_all(&self.dir)?;
        Ok(())
    }
}

/// The program with the settings of the command line, which override all others.
fn with(mut program: Program, settings: &[(&str, &str)]) -> Program {
    for (name, value) in settings {
        program = program.env(name, *value);
    }
    program
}

/// Has Postgres count statements, if its package contains the extension.
async fn count_statements(postgres: &mut Postgres) -> Result<()> {
    let mut connection = PgConnection::connect(&postgres.url()).await?;
    let available = sqlx::raw_sql("SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'")
        .fetch_optional(&mut connection)
        .await?
        .is_some();
    if available {
        sqlx::raw_sql("ALTER SYSTEM SET shared_preload_libraries TO pg_stat_statements")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    if available {
        postgres.restart().await?;
        let mut connection = PgConnection::connect(&postgres.url()).await?;
        sqlx::raw_sql("CREATE EXTENSION pg_stat_statements")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
    }
    Ok(())
}

/// A directory in the repository, so that the repository's disk is measured. Postgres's user can enter it.
fn create_dir() -> Result<PathBuf> {
    let root = cargo::repository().join(".errand");
    let number = STACKS.fetch_add(1, Ordering::Relaxed);
    let dir = root.join(format!("bench-{}-{number}", std::process::id()));
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    for dir in [&root, &dir] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711))?;
    }
    Ok(dir)
}
