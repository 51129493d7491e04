//! The program `errand-api`: parses the command line and runs a subcommand.

use std::{
    ffi::OsString,
    io::{BufRead, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use errand_api::{
    Api, ApiSettings, AuthSettings,
    cli::{self, verify::VerifySettings},
};
use errand_shared::service::traces::Traces;
use errand_shared::{
    Uuid,
    domain::clock::Clock,
    service::{
        config::{self, Exit, RedisSettings, StoreSettings},
        lifecycle::Lifecycle,
        open_files,
        runtime::RuntimeSettings,
        telemetry::{self, LogSettings},
    },
    signals::redis_client::RedisClient,
    storage::{self, Durability},
};

/// docs/BENCHMARKS.md has the memory that it saves.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// File descriptors for databases, logs and listeners, in addition to client connections.
const SPARE_FILES: u64 = 200;

/// The HTTP API of Errand.
#[derive(Debug, Parser)]
#[command(name = "errand-api", version, about)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (the default).
    Serve(Box<ApiSettings>),
    /// Migrate the schema of the database to the version of this program.
    Migrate(Box<MigrateArgs>),
    /// Create a user. The password is the first line of standard input, or is generated and printed.
    CreateUser(CreateUserArgs),
    /// Print an access token for a user.
    Token(Box<TokenArgs>),
    /// Notify the workers of every run that is ready, after Redis lost its data.
    Renotify {
        #[command(flatten)]
        store: StoreSettings,
        #[command(flatten)]
        redis: RedisSettings,
    },
    /// Check the guarantees of Errand on a live database. The exit code is 1 if there are violations.
    Verify(Box<VerifySettings>),
}

#[derive(Debug, clap::Args)]
struct MigrateArgs {
    #[command(flatten)]
    store: StoreSettings,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Debug, clap::Args)]
struct CreateUserArgs {
    #[command(flatten)]
    store: StoreSettings,
    /// E-mail address of the user.
    #[arg(long)]
    email: String,
    /// Name of the user.
    #[arg(long)]
    name: String,
    /// Create an admin.
    #[arg(long)]
    admin: bool,
}

#[derive(Debug, clap::Args)]
struct TokenArgs {
    #[command(flatten)]
    store: StoreSettings,
    #[command(flatten)]
    auth: AuthSettings,
    /// Id of the user.
    #[arg(long)]
    user: Uuid,
    /// Issue a token with the role `admin`.
    #[arg(long)]
    admin: bool,
    /// Lifetime of the token, in seconds. The default is `JWT_TTL_SECONDS`.
    #[arg(long, value_parser = config::seconds)]
    ttl: Option<Duration>,
}

fn main() -> ExitCode {
    let program: Program = match config::parse_from(with_default_command(std::env::args_os())) {
        Ok(program) => program,
        Err(exit) => return exit.report(),
    };
    let runtime = match &program.command {
        Command::Serve(settings) => settings.runtime,
        _ => RuntimeSettings { runtime_threads: 1 },
    };
    runtime
        .run(run(program.command))
        .unwrap_or_else(|error| Exit::bad_setting("RUNTIME_THREADS", error).report())
}

async fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Serve(settings) => serve(*settings).await,
        Command::Migrate(arguments) => {
            let MigrateArgs { store, log } = *arguments;
            telemetry::init(log, None);
            cli::migrate::migrate(&store).await.map_err(failed).map(|()| None)
        }
        Command::CreateUser(arguments) => create_user(arguments).await,
        Command::Token(arguments) => token(*arguments).await,
        Command::Renotify { store, redis } => renotify(&store, &redis).await,
        Command::Verify(settings) => return verify(&settings).await,
    };
    match done {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(text)) => print(&text),
        Err(exit) => exit.report(),
    }
}

/// `serve` is the default subcommand.
fn with_default_command(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    let first = arguments.get(1).map(|first| first.to_string_lossy().into_owned());
    let is_help_or_version = first
        .as_deref()
        .is_some_and(|first| matches!(first, "-h" | "--help" | "-V" | "--version" | "help"));
    let is_option = first.as_deref().is_none_or(|first| first.starts_with('-'));
    if is_option && !is_help_or_version {
        arguments.insert(arguments.len().min(1), "serve".into());
    }
    arguments
}

async fn serve(settings: ApiSettings) -> Result<Option<String>, Exit> {
    let (traces, extra) = Traces::start(&settings.traces, "errand-api", env!("CARGO_PKG_VERSION"))?;
    telemetry::init(settings.log.clone(), extra);
    let lifecycle = Lifecycle::new();
    let files = u64::from(settings.http.max_connections) + SPARE_FILES;
    lifecycle.stop_on_signals().map_err(failed)?;
    let api = Api::start(settings, lifecycle)?;
    // After the settings were checked: for an invalid setting, only one line is printed, and this may log a warning.
    open_files::raise(files);
    api.run().await;
    traces.end().await;
    Ok(None)
}

async fn create_user(arguments: CreateUserArgs) -> Result<Option<String>, Exit> {
    let CreateUserArgs {
        store,
        email,
        name,
        admin,
    } = arguments;
    let pool = pool(&store)?;
    let password = password_from_stdin().map_err(failed)?;
    let (user, generated) = cli::create_user::create_user(&pool, &email, &name, admin, password)
        .await
        .map_err(failed)?;
    let password = generated.map_or_else(String::new, |password| format!("password: {password}\n"));
    Ok(Some(format!("user: {}\n{password}", user.id)))
}

/// The first line of standard input. None if it is empty or a terminal.
fn password_from_stdin() -> std::io::Result<Option<String>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    Ok((!password.is_empty()).then(|| password.to_owned()))
}

async fn token(arguments: TokenArgs) -> Result<Option<String>, Exit> {
    let TokenArgs {
        store,
        auth,
        user,
        admin,
        ttl,
    } = arguments;
    let pool = pool(&store)?;
    let token = cli::token::token(&auth, &pool, user, admin, ttl, Clock::system().now()).await;
    token.map(|token| Some(token + "\n")).map_err(failed)
}

async fn renotify(store: &StoreSettings, redis: &RedisSettings) -> Result<Option<String>, Exit> {
    let pool = pool(store)?;
    let redis = RedisClient::new(redis).map_err(|error| Exit::bad_setting("REDIS_URL", error))?;
    let sent = cli::renotify::renotify(&pool, &redis).await.map_err(failed)?;
    Ok(Some(format!("{sent} notifications sent\n")))
}

/// Prints the report to standard output, also if there are violations.
async fn verify(settings: &VerifySettings) -> ExitCode {
    let mut stderr = std::io::stderr();
    let reports_progress = settings.progress || stderr.is_terminal();
    let progress = reports_progress.then_some(&mut stderr as &mut (dyn Write + Send));
    let report = cli::verify::verify(settings, progress).await;
    match report.and_then(|report| Ok((report.text(settings.json)?, report.ok))) {
        Ok((text, true)) => print(&text),
        Ok((text, false)) => {
            print(&text);
            ExitCode::FAILURE
        }
        Err(error) => failed(error).report(),
    }
}

fn pool(store: &StoreSettings) -> Result<storage::Pool, Exit> {
    storage::pool(store, Durability::Flushed).map_err(|error| Exit::bad_setting("DATABASE_URL", error))
}

fn failed(error: impl std::fmt::Display) -> Exit {
    Exit {
        code: 1,
        text: format!("error: {error}\n"),
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
