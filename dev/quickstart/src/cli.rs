//! The command line and the exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use errand_devstack::cargo::BuildProfile;
use errand_devstack::services::Urls;
use errand_devstack::{Error, Result, print};

use crate::{services, stack, test, up};

/// Starts Errand on this machine: private Postgres and Redis, the API, the
/// workers and the demo model. The default command is `up`.
#[derive(Debug, Parser)]
#[command(name = "errand-quickstart", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: UpArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything, send a first message and run until Ctrl-C.
    Up(Box<UpArgs>),
    /// Run all tests with private Postgres and Redis.
    Test(TestArgs),
    /// Start Postgres and Redis only, until Ctrl-C or for one command.
    Services(ServicesArgs),
    /// Run one command, such as a load test, with a temporary stack without rate limits.
    Stack(StackArgs),
}

/// Existing services. Nothing but these flags selects them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ExternalArgs {
    /// Use this Postgres instead of a private one.
    #[arg(long, value_name = "URL", requires = "redis_url")]
    database_url: Option<String>,
    /// Use this Redis instead of a private one.
    #[arg(long, value_name = "URL", requires = "database_url")]
    redis_url: Option<String>,
}

impl ExternalArgs {
    /// The addresses of the existing services, if the flags are set. The environment is ignored.
    pub(crate) fn urls(&self) -> Option<Urls> {
        let (database, redis) = self.database_url.as_ref().zip(self.redis_url.as_ref())?;
        Some(Urls {
            database: database.clone(),
            redis: redis.clone(),
        })
    }
}

/// Where the data is stored and whether packages may be installed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DataArgs {
    /// The directory of data, logs and secrets [default: .errand in the repository].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Never install packages; report missing ones instead.
    #[arg(long)]
    pub(crate) no_install: bool,
}

/// How the programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Optimized: slow to compile, fast to run.
    Release,
    /// Unoptimized, for development.
    Dev,
}

impl From<Profile> for BuildProfile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Release => Self::Release,
            Profile::Dev => Self::Dev,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) external: ExternalArgs,
    /// The number of workers.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) workers: u16,
    /// The API's port on 127.0.0.1 [default: 8080 or the next free port].
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// How the programs are compiled.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    pub(crate) profile: Profile,
    /// Use compiled programs from this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "profile")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// Send no message.
    #[arg(long)]
    pub(crate) no_chat: bool,
    /// Stop after the first answer.
    #[arg(long)]
    pub(crate) exit_after_ready: bool,
    /// How many seconds each program may take until it is ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) ready_timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) external: ExternalArgs,
    /// Use the services of `DATABASE_URL` and `REDIS_URL` instead of private ones.
    #[arg(long, conflicts_with_all = ["database_url", "redis_url"])]
    pub(crate) use_env: bool,
    /// Never install packages; report missing ones instead.
    #[arg(long)]
    pub(crate) no_install: bool,
    /// Arguments of `cargo nextest run`, or of `cargo test` if nextest is not installed.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) extra: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    /// Keep the data in the data directory. By default no data is kept or flushed to disk.
    #[arg(long)]
    pub(crate) durable: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// A command to run with `DATABASE_URL` and `REDIS_URL`. Its exit code is returned.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct StackArgs {
    /// How the programs are compiled.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    pub(crate) profile: Profile,
    /// How long the model takes for each call: fixed:50, uniform:20..80, exp:MEAN or lognormal:MEDIAN,SIGMA, in
    /// milliseconds.
    #[arg(long, value_name = "DISTRIBUTION", default_value = "fixed:50")]
    pub(crate) model_latency: String,
    /// Add workers up to this number after a third of --scale-seconds, and stop them after two thirds.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) scale: u16,
    /// The length of the test that --scale divides.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) scale_seconds: u64,
    /// The directory of the programs' logs and of the result of `errand-api verify`.
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: PathBuf,
    /// The command to run with `BASE_URL`, `DATABASE_URL` and `REDIS_URL`. Its exit code is returned if the stored data
    /// is consistent afterwards.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// Runs the program on the main thread, because the child processes stop when the thread that started them ends.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            print::error_line(&format!("errand-quickstart: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start the runtime"))?;
    runtime.block_on(async {
        match cli.command {
            None => up::run(cli.up).await,
            Some(Command::Up(args)) => up::run(*args).await,
            Some(Command::Test(args)) => test::run(args).await,
            Some(Command::Services(args)) => services::run(args).await,
            Some(Command::Stack(args)) => stack::run(args).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_valid_and_up_is_the_default() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["errand-quickstart", "--no-chat", "--workers", "3"]).unwrap();
        assert!(cli.command.is_none() && cli.up.no_chat && cli.up.workers == 3);
        assert_eq!(cli.up.external.urls(), None);
    }

    #[test]
    fn existing_services_are_selected_by_both_flags_only() {
        let database = ["errand-quickstart", "--database-url", "postgres://h/d"];
        assert!(Cli::try_parse_from(database).is_err());
        let both = [&database[..], &["--redis-url", "redis://h"]].concat();
        let urls = Cli::try_parse_from(both).unwrap().up.external.urls().unwrap();
        assert_eq!(urls.database, "postgres://h/d");
        assert_eq!(urls.redis, "redis://h");
    }

    #[test]
    fn arguments_after_test_are_passed_to_the_tests() {
        for line in [
            ["test", "--", "-p", "errand-api"].as_slice(),
            &["test", "-p", "errand-api"],
        ] {
            let cli = Cli::try_parse_from([&["errand-quickstart"], line].concat()).unwrap();
            let Some(Command::Test(args)) = cli.command else {
                panic!("not a test")
            };
            assert_eq!(args.extra, ["-p", "errand-api"]);
        }
    }
}
