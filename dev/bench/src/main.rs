//! The capacity lab: what a chat costs and how many this machine carries, with everything real but the model's thinking.
//!
//! It starts a Postgres that flushes, a Redis, the simulated model, an API and workers as processes of their own, offers
//! load over HTTP with a client that checks every answer, and prints what it took. `pgbench` runs in the same session
//! with the least SQL that a chat can be, so that the figures can be compared between machines.

mod client;
mod fill;
mod fsync;
mod load;
mod pgbench;
mod procfs;
mod report;
mod scenario;
mod stack;
mod stores;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use errand_quickstart::cargo;
use tokio::sync::Mutex;

use crate::{
    fill::Ballast,
    report::Report,
    scenario::{Measured, Scenario},
    stack::Programs,
};

/// What may go wrong here ends the lab; it is told in full.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures Errand on this machine.
#[derive(Debug, Parser)]
#[command(name = "errand-bench", version)]
struct Args {
    /// What to measure, comma-separated; everything short if absent.
    #[arg(value_delimiter = ',', default_values = ["single", "single-50", "load-64", "waiting-4000", "waiting-10000"])]
    scenarios: Vec<String>,
    /// Workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    workers: u16,
    /// Seconds that a scenario is measured for, at least.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Take the programs from this folder and compile nothing.
    #[arg(long, value_name = "FOLDER")]
    bin_dir: Option<PathBuf>,
    /// Compare with the programs in this folder: both run, and chats go to the one and to the other by turns. Only for one chat at a
    /// time.
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    /// A setting of API and workers, as `NAME=VALUE`; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Where to write the results as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How much of 10,000,000 messages and 1,000,000 tasks full tables hold.
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Print the statements that took Postgres the most time.
    #[arg(long)]
    statements: bool,
    /// Leave `pgbench` and `pg_test_fsync` out.
    #[arg(long)]
    no_pgbench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::tell(&format!("errand-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    // A file each for client and API of every chat that waits.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let scenarios: Vec<Scenario> = args
        .scenarios
        .iter()
        .map(|name| Scenario::named(name))
        .collect::<Result<_>>()?;
    let settings = args
        .settings
        .iter()
        .map(|pair| {
            pair.split_once('=')
                .ok_or_else(|| format!("{pair} is not NAME=VALUE"))
        })
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let own = programs(args.bin_dir.as_deref()).await?;
    let others = match &args.against {
        Some(_) if scenarios.iter().any(|scenario| scenario.clients != 1) => {
            return Err("--against is for one chat at a time".into());
        }
        Some(folder) => Some(programs(Some(folder)).await?),
        None => None,
    };
    let mut report = Report::new(args.workers);
    if !args.no_pgbench {
        report.flush(fsync::mean_ms().await?);
    }
    for scenario in scenarios {
        report::tell(&format!("{}: {}", scenario.name, scenario.what));
        let stack = stack::Stack::start(&own, &scenario, args.workers, &settings).await?;
        report.starts(stack.starts());
        let ballast = Ballast::scaled(args.scale);
        let measure = |stack, turns| scenario.measure(stack, args.seconds, ballast, turns);
        let measured = match &others {
            None => vec![measure(&stack, None).await],
            Some(others) => {
                let other = stack::Stack::start(others, &scenario, args.workers, &settings).await?;
                let turns = Arc::new(Mutex::new(()));
                let measured = tokio::join!(
                    measure(&stack, Some(Arc::clone(&turns))),
                    measure(&other, Some(turns))
                );
                other.stop().await?;
                vec![measured.0, measured.1]
            }
        };
        if scenario.compared_with_pgbench && !args.no_pgbench && measured.iter().all(Result::is_ok) {
            let reached = pgbench::run(&stack, scenario.clients, scenario.model(), args.seconds);
            report.pgbench(reached.await?);
        }
        stack.stop().await?;
        for (measured, against) in measured.into_iter().zip([false, true]) {
            match measured? {
                Measured::Chats(row) if against => report.add(row.against()),
                Measured::Chats(row) => report.add(*row),
                Measured::Idle(idle) => report.idle(idle),
            }
        }
    }
    report.print(args.statements);
    if let Some(file) = args.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn programs(folder: Option<&Path>) -> Result<Programs> {
    let names = ["errand-api", "errand-worker", "errand-model"];
    let paths = match folder {
        Some(folder) => names.map(|name| folder.join(name)).to_vec(),
        None => cargo::build_optimised(&names).await?,
    };
    let [api, worker, model] =
        <[PathBuf; 3]>::try_from(paths).map_err(|_paths| "three programs were built")?;
    Ok(Programs { api, worker, model })
}

fn scale(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.0..=1.0).contains(&scale) => Ok(scale),
        _ => Err("must be between 0 and 1".to_owned()),
    }
}
