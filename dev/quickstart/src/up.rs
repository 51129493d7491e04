//! `up`: everything from the packages to the first answer, until a signal stops it.

mod first_chat;
mod model;
mod report;
mod start;

use std::process::ExitCode;
use std::time::Instant;

use errand_devstack::cargo;
use errand_devstack::files::data_dir::DataDir;
use errand_devstack::packages::{Places, find_or_install};
use errand_devstack::process::signals::Signals;
use errand_devstack::programs::Programs;
use errand_devstack::stack::Stack;
use errand_devstack::{Result, print};

use crate::cli::UpArgs;
use model::Model;

/// Runs the subcommand.
pub(crate) async fn run(args: UpArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let external = args.external.urls();
    let places = Places::of_this_machine();
    // First, because Debian's package also creates the user that root runs Postgres as.
    let found = match external {
        Some(_) => None,
        None => Some(find_or_install(&places, !args.data.no_install)?),
    };
    let repository = cargo::repository();
    let dir = DataDir::open(args.data.data_dir.as_deref(), &repository)?;
    let model = Model::choose(&repository)?;
    report::show_start(&dir, &model, external.is_some());

    let programs = signals.unless(build(&args, &model)).await?;
    let started = Instant::now();
    let starting = start::start(&args, &dir, found.as_ref(), external, &programs);
    let (mut stack, api_port) = signals.unless(starting).await?;
    print::line(&format!(
        "Everything is ready after {:.1} s.",
        started.elapsed().as_secs_f64()
    ));

    let result = serve(&args, &dir, &mut stack, api_port, &mut signals).await;
    let stopped = stop(stack, &dir, &mut signals).await;
    result.and_then(|code| stopped.map(|()| code))
}

/// The compiled programs.
async fn build(args: &UpArgs, model: &Model) -> Result<Programs> {
    let with_model = *model == Model::Demo;
    if let Some(dir) = &args.bin_dir {
        return Programs::in_dir(dir, with_model);
    }
    print::line("Compiling Errand. The first time takes some minutes.");
    Programs::build(args.profile.into(), with_model, &[]).await
}

/// The first chat, and then until a signal.
async fn serve(
    args: &UpArgs,
    dir: &DataDir,
    stack: &mut Stack,
    api_port: u16,
    signals: &mut Signals,
) -> Result<ExitCode> {
    let user = tokio::select! {
        user = first_chat::first_user(api_port, dir) => user?,
        error = stack.watch() => return Err(error),
        _ = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let mut code = ExitCode::SUCCESS;
    if !args.no_chat {
        let chat = tokio::select! {
            chat = first_chat::chat(api_port, &user, dir) => chat,
            error = stack.watch() => return Err(error),
            _ = signals.next() => return Ok(ExitCode::SUCCESS),
        };
        match chat {
            Ok(exchange) => report::show_exchange(&exchange),
            Err(error) => {
                // Everything is running all the same.
                print::error_line(&format!(
                    "The first message was not answered: {error}. The logs are in {}",
                    dir.log_dir().display()
                ));
                code = ExitCode::FAILURE;
            }
        }
    }
    report::show_next_steps(api_port, &user.account, dir);
    if args.exit_after_ready {
        return Ok(code);
    }
    print::line("Press Ctrl-C to stop everything. The data is kept.");
    tokio::select! {
        error = stack.watch() => Err(error),
        _ = signals.next() => Ok(ExitCode::SUCCESS),
    }
}

/// Stops everything in order. A second signal kills what is still running.
async fn stop(mut stack: Stack, dir: &DataDir, signals: &mut Signals) -> Result<()> {
    print::line("Stopping …");
    let started = Instant::now();
    tokio::select! {
        stopped = stack.stop() => stopped?,
        _ = signals.next() => print::error_line("Second signal: killing what is still running."),
    }
    drop(stack);
    print::line(&format!(
        "Stopped after {:.1} s. The data is in {} for the next start.",
        started.elapsed().as_secs_f64(),
        dir.root().display()
    ));
    Ok(())
}
