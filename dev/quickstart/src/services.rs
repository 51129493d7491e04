//! `services`: Postgres and Redis alone, for a shell, a build or a load test.

use std::process::ExitCode;

use tokio::process::Command;

use crate::backing::{Backing, env_of_programs};
use crate::cargo::repository;
use crate::cli::ServicesArgs;
use crate::error::Result;
use crate::folder::Folder;
use crate::packages::{Found, Places, find_or_install};
use crate::pid_file;
use crate::ports::Ports;
use crate::run_command::{self, exit_code};
use crate::say::{say, tell};
use crate::signals::Signals;

/// Runs the subcommand.
pub(crate) async fn run(args: ServicesArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let found = find_or_install(&Places::of_this_machine(), !args.place.no_install)?;
    let folder = args
        .durable
        .then(|| Folder::open(args.place.data_dir.as_deref(), &repository()))
        .transpose()?;
    let mut backing = signals.unless(start(&found, folder.as_ref())).await?;
    let ended = serve(&args, &found, &mut backing, &mut signals).await;
    backing.stop().await?;
    ended
}

async fn start(found: &Found, folder: Option<&Folder>) -> Result<Backing> {
    match folder {
        None => Backing::ephemeral(found).await,
        Some(folder) => {
            pid_file::end_left_over(&folder.run()).await?;
            let mut ports = Ports::open(&folder.root().join("ports"))?;
            Backing::durable(found, folder, &mut ports).await
        }
    }
}

async fn serve(
    args: &ServicesArgs,
    found: &Found,
    backing: &mut Backing,
    signals: &mut Signals,
) -> Result<ExitCode> {
    let urls = backing.urls();
    if let [program, rest @ ..] = args.command.as_slice() {
        let env = [urls.env(), env_of_programs(found)].concat();
        let mut command = Command::new(program);
        let name = program.to_string_lossy().into_owned();
        let status = run_command::run(&name, command.args(rest), &env, signals).await?;
        return Ok(exit_code(status));
    }
    say(&format!(
        "export DATABASE_URL='{}' REDIS_URL='{}'",
        urls.database, urls.redis
    ));
    tell("Postgres and Redis are ready. Ctrl-C stops them.");
    tokio::select! {
        _ = signals.next() => Ok(ExitCode::SUCCESS),
        death = backing.next_death() => Err(death?.fault),
    }
}
