//! `up`: everything from the packages to the first answer, and down again.

mod first_chat;
mod keeper;
mod model;
mod programs;
mod report;
mod restarts;
mod stack;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use crate::backing::Urls;
use crate::cargo;
use crate::cli::UpArgs;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::packages::{Places, find_or_install};
use crate::say::{say, tell};
use crate::signals::Signals;

use model::Model;
use stack::Stack;

/// The compiled programs.
#[derive(Debug)]
struct Programs {
    api: PathBuf,
    worker: PathBuf,
    /// Only when the demo model is to answer.
    model: Option<PathBuf>,
}

/// Runs the subcommand.
pub(crate) async fn run(args: UpArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let outside = Urls::outside(&args.outside);
    let places = Places::of_this_machine();
    // First of all, because Debian's package also makes the user that root runs Postgres as.
    let found = match outside {
        Some(_) => None,
        None => Some(find_or_install(&places, !args.place.no_install)?),
    };
    let repository = cargo::repository();
    let folder = Folder::open(args.place.data_dir.as_deref(), &repository)?;
    let model = Model::choose(&repository)?;
    report::begin(&folder, &model, outside.is_some());

    let programs = signals.unless(build(&args, &model)).await?;
    let started = Instant::now();
    let starting = Stack::start(&args, &folder, found.as_ref(), outside, &programs);
    let mut stack = signals.unless(starting).await?;
    say(&format!(
        "Everything is ready after {:.1} s.",
        started.elapsed().as_secs_f64()
    ));

    let ended = serve(&args, &folder, &mut stack, &mut signals).await;
    let stopped = stop(stack, &folder, &mut signals).await;
    ended.and_then(|code| stopped.map(|()| code))
}

/// The compiled programs: from the given folder, else from cargo.
async fn build(args: &UpArgs, model: &Model) -> Result<Programs> {
    let mut packages = vec!["errand-api", "errand-worker"];
    packages.extend((*model == Model::Demo).then_some("errand-model"));
    let paths = if let Some(folder) = &args.bin_dir {
        packages
            .iter()
            .map(|name| in_folder(folder, name))
            .collect::<Result<_>>()?
    } else {
        say("Compiling Errand's programs; the first time this takes some minutes.");
        cargo::build(&packages, args.profile, &[]).await?
    };
    let mut built = paths.into_iter();
    Ok(Programs {
        api: built.next().unwrap_or_default(),
        worker: built.next().unwrap_or_default(),
        model: built.next(),
    })
}

fn in_folder(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    if !path.is_file() {
        return Err(Error::Unusable(format!("there is no program {}", path.display())));
    }
    std::path::absolute(&path).map_err(Error::path("find", &path))
}

/// From ready to the signal that ends it.
async fn serve(args: &UpArgs, folder: &Folder, stack: &mut Stack, signals: &mut Signals) -> Result<ExitCode> {
    let account = tokio::select! {
        account = first_chat::first_user(stack.api_port(), folder) => account?,
        fault = stack.watch() => return Err(fault),
        _ = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let mut code = ExitCode::SUCCESS;
    if !args.no_chat {
        let chat = tokio::select! {
            chat = first_chat::chat(stack.api_port(), &account, folder) => chat,
            fault = stack.watch() => return Err(fault),
            _ = signals.next() => return Ok(ExitCode::SUCCESS),
        };
        match chat {
            Ok(exchange) => report::exchange(&exchange),
            Err(fault) => {
                // Everything is up all the same, and worth a look.
                tell(&format!(
                    "The first message got no answer: {fault}. The logs are in {}",
                    report::logs(folder)
                ));
                code = ExitCode::FAILURE;
            }
        }
    }
    report::go_on(stack.api_port(), &account, folder);
    if args.exit_after_ready {
        return Ok(code);
    }
    say("Ctrl-C stops everything and keeps the data.");
    tokio::select! {
        fault = stack.watch() => Err(fault),
        _ = signals.next() => Ok(ExitCode::SUCCESS),
    }
}

/// In good order; a second Ctrl-C cuts it short.
async fn stop(mut stack: Stack, folder: &Folder, signals: &mut Signals) -> Result<()> {
    say("Stopping …");
    let began = Instant::now();
    tokio::select! {
        stopped = stack.stop() => stopped?,
        _ = signals.next() => tell("Once more: what still runs is ended at once."),
    }
    drop(stack);
    say(&format!(
        "Stopped after {:.1} s. The data is in {} for the next start.",
        began.elapsed().as_secs_f64(),
        folder.root().display()
    ));
    Ok(())
}
