//! `services`: starts only Postgres and Redis, for a shell, a build or a script.

use std::ffi::OsString;
use std::process::ExitCode;

use errand_devstack::cargo::repository;
use errand_devstack::files::data_dir::DataDir;
use errand_devstack::files::pid_file;
use errand_devstack::packages::{Found, Places, find_or_install};
use errand_devstack::ports::Ports;
use errand_devstack::process::foreground::{self, exit_code};
use errand_devstack::process::signals::Signals;
use errand_devstack::services::{Services, env_of_programs};
use errand_devstack::{Result, print};
use tokio::process::Command;

use crate::cli::ServicesArgs;

/// Runs the subcommand.
pub(crate) async fn run(args: ServicesArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let found = find_or_install(&Places::of_this_machine(), !args.data.no_install)?;
    let dir = args
        .durable
        .then(|| DataDir::open(args.data.data_dir.as_deref(), &repository()))
        .transpose()?;
    let mut services = signals.unless(start(&found, dir.as_ref())).await?;
    let result = serve(&args.command, &found, &mut services, &mut signals).await;
    services.stop().await?;
    result
}

async fn start(found: &Found, dir: Option<&DataDir>) -> Result<Services> {
    match dir {
        None => Services::ephemeral(found).await,
        Some(dir) => {
            pid_file::stop_leftover(&dir.pid_dir()).await?;
            let mut ports = Ports::open(&dir.root().join("ports"))?;
            Services::durable(found, dir, &mut ports).await
        }
    }
}

async fn serve(
    command: &[OsString],
    found: &Found,
    services: &mut Services,
    signals: &mut Signals,
) -> Result<ExitCode> {
    let urls = services.urls();
    if let [program, arguments @ ..] = command {
        let env = [urls.env(), env_of_programs(found)].concat();
        let name = program.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        let status = foreground::run(&name, command.args(arguments), &env, signals).await?;
        return Ok(exit_code(status));
    }
    print::line(&format!(
        "export DATABASE_URL='{}' REDIS_URL='{}'",
        urls.database, urls.redis
    ));
    print::error_line("Postgres and Redis are ready. Press Ctrl-C to stop them.");
    tokio::select! {
        _ = signals.next() => Ok(ExitCode::SUCCESS),
        exited = services.exited() => Err(exited?.1),
    }
}
