//! Breaks everything that can break around Errand, and checks its promises.
//!
//! It owns the faults, the load, and the comparison of what clients were promised with what is stored. It knows Errand
//! from outside: HTTP, the tables, the programs' settings, and the names of the kill points.

mod args;
mod book;
mod check;
mod client;
mod folder;
mod inject;
mod kinds;
mod load;
mod probe;
mod process;
mod proxy;
mod reader;
mod record;
mod report;
mod round;
mod sanity;
mod say;
mod stack;

use std::{process::ExitCode, time::Duration};

use args::Args;
use clap::Parser;
use kinds::Fault;
use rand::{SeedableRng, rngs::SmallRng};
use round::Plan;
use say::say;
use tokio::signal::unix::{SignalKind, signal};

/// What can go wrong with the harness itself: it ends the round, and is told as it is.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    match unless_interrupted(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("errand-chaos: {error}"));
            ExitCode::from(2)
        }
    }
}

/// At Ctrl-C and its kin all that was started is stopped with the round that is dropped.
async fn unless_interrupted(args: Args) -> Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = run(args) => done,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("terminated".into()),
    }
}

/// Whether all promises were kept; with `--sanity`, whether every broken one was noticed.
async fn run(args: Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    say(&format!("seed {seed}"));
    if args.sanity {
        return sanity::run(seed, args.chats, args.keep).await;
    }
    let at_least = args.faults.unwrap_or_else(|| args.round.faults());
    let mut dice = SmallRng::seed_from_u64(seed);
    let faults = Fault::schedule(args.round, at_least, args.only.as_deref(), &mut dice);
    if faults.is_empty() {
        return Err("no fault has such a name".into());
    }
    let plan = Plan {
        seed,
        round: args.round,
        faults,
        chats: args.chats.unwrap_or_else(|| args.round.chats()),
        patience: Duration::from_mins(3),
        keep: args.keep,
        sabotage: None,
        sabotage_sql: None,
        twins: 1,
    };
    let report = round::run(&plan).await?;
    report.show();
    if let Some(folder) = args.report.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&args.report, serde_json::to_vec_pretty(&report)?)?;
    say(&format!("the same as JSON: {}", args.report.display()));
    Ok(report.violations.is_empty())
}
