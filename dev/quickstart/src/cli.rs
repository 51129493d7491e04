//! The command line, and the way from it to an exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::{Error, Result};
use crate::say::tell;
use crate::{services, test, up};

/// Brings up Errand on this machine: private Postgres and Redis, the API, the
/// workers and the demo model. Without a command it is `up`.
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
    /// Brings up everything, sends a first message and runs until Ctrl-C.
    Up(Box<UpArgs>),
    /// Runs all tests with Postgres and Redis of their own.
    Test(TestArgs),
    /// Brings up Postgres and Redis only, until Ctrl-C or for one command.
    Services(ServicesArgs),
}

/// Services that are not ours; nothing but these flags leads to them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutsideArgs {
    /// Use this Postgres instead of a private one.
    #[arg(long, value_name = "URL", requires = "redis_url")]
    pub(crate) database_url: Option<String>,
    /// Use this Redis instead of a private one.
    #[arg(long, value_name = "URL", requires = "database_url")]
    pub(crate) redis_url: Option<String>,
}

/// Where data lies and what may be installed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PlaceArgs {
    /// The folder of data, logs and secrets [default: .errand in the repository].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Never install packages; say what is missing instead.
    #[arg(long)]
    pub(crate) no_install: bool,
}

/// How the programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuildProfile {
    /// Optimised: slow to compile, fast to run.
    Release,
    /// For work on the code.
    Dev,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) outside: OutsideArgs,
    /// How many workers.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) workers: u16,
    /// The API's port on 127.0.0.1 [default: 8080 or the next free one].
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// How the programs are compiled.
    #[arg(long, value_enum, default_value_t = BuildProfile::Release)]
    pub(crate) profile: BuildProfile,
    /// Take the programs from this folder and compile nothing.
    #[arg(long, value_name = "FOLDER", conflicts_with = "profile")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// Send no message.
    #[arg(long)]
    pub(crate) no_chat: bool,
    /// Stop again once everything has been up and answered.
    #[arg(long)]
    pub(crate) exit_after_ready: bool,
    /// How many seconds each program may take until it is ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) ready_timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) outside: OutsideArgs,
    /// Take `DATABASE_URL` and `REDIS_URL` from the environment instead of private servers.
    #[arg(long, conflicts_with_all = ["database_url", "redis_url"])]
    pub(crate) use_env: bool,
    /// Never install packages; say what is missing instead.
    #[arg(long)]
    pub(crate) no_install: bool,
    /// What is passed on to `cargo nextest run`, or to `cargo test` without nextest.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) extra: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    /// Keep the data, in the data folder. Without it nothing is kept or flushed.
    #[arg(long)]
    pub(crate) durable: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// A command to run with `DATABASE_URL` and `REDIS_URL`; the exit code is its own.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

/// Runs the program. The whole of it stays on the main thread, which the child
/// processes are tied to: if we are killed, they end.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(fault) => {
            tell(&format!("errand-quickstart: {fault}"));
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
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_up_is_the_default() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["errand-quickstart", "--no-chat", "--workers", "3"]).unwrap();
        assert!(cli.command.is_none() && cli.up.no_chat && cli.up.workers == 3);
        assert_eq!(cli.up.outside.database_url, None);
    }

    #[test]
    fn an_outside_database_needs_an_outside_redis() {
        assert!(Cli::try_parse_from(["errand-quickstart", "--database-url", "postgres://h/d"]).is_err());
    }

    #[test]
    fn what_follows_test_goes_to_the_tests() {
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
