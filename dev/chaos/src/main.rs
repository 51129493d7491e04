//! Injects faults into a running Errand under load and checks its guarantees.
//!
//! It knows Errand from outside only: HTTP, the tables, the programs' settings, and the names of their failpoints.

mod args;
mod check;
mod client;
mod failpoint;
mod fault;
mod inject;
mod load;
mod model;
mod program;
mod proxy;
mod reader;
mod record;
mod recovery;
mod report;
mod round;
mod self_test;
mod stack;
mod stored_state;
mod workdir;

use std::{process::ExitCode, time::Duration};

use args::Args;
use clap::Parser;
use errand_devstack::print;
use fault::Fault;
use rand::{SeedableRng, rngs::SmallRng};
use round::Plan;
use tokio::signal::unix::{SignalKind, signal};

/// An error of the harness itself, which ends the round.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    match unless_interrupted(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print::error_line(&format!("errand-chaos: {error}"));
            ExitCode::from(2)
        }
    }
}

/// SIGINT and SIGTERM cancel the round, which stops everything it has started.
async fn unless_interrupted(args: Args) -> Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = run(args) => done,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("terminated".into()),
    }
}

/// Returns whether no guarantee was violated; with `--self-test`, whether every mutation was detected.
async fn run(args: Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    print::line(&format!("seed {seed}"));
    if args.self_test {
        return self_test::run(seed, args.chats, args.keep).await;
    }
    let at_least = args.faults.unwrap_or_else(|| args.round.faults());
    let mut rng = SmallRng::seed_from_u64(seed);
    let faults = Fault::schedule(args.round, at_least, args.only.as_deref(), &mut rng);
    if faults.is_empty() {
        return Err("no fault has this name".into());
    }
    let plan = Plan {
        seed,
        round: args.round,
        faults,
        chats: args.chats.unwrap_or_else(|| args.round.chats()),
        client_timeout: Duration::from_mins(3),
        keep: args.keep,
        mutation_feature: None,
        mutation_sql: None,
        twins: 1,
    };
    let report = round::run(&plan).await?;
    report.show();
    if let Some(dir) = args.report.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(&args.report, serde_json::to_vec_pretty(&report)?)?;
    print::line(&format!("JSON report: {}", args.report.display()));
    Ok(report.violations.is_empty())
}
