//! Measures latency, throughput and CPU time per chat on this machine, with everything real except the model.
//!
//! It starts Postgres with flushed commits, Redis, the simulated model, an API and workers as processes, sends load over
//! HTTP with a client that checks every answer, and prints the results. In the same session `pgbench` runs the minimal
//! SQL of a chat, so that results of different machines can be compared.

mod client;
mod db_counters;
mod fsync;
mod load;
mod pgbench;
mod procfs;
mod report;
mod scenario;
mod seed_data;
mod stack;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use errand_devstack::{cargo::BuildProfile, print, programs::Programs};
use tokio::sync::Mutex;

use crate::{
    report::Report,
    scenario::{Measured, Scenario},
    seed_data::SeedSize,
};

/// Any error ends the program with its message.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures Errand on this machine.
#[derive(Debug, Parser)]
#[command(name = "errand-bench", version)]
struct Args {
    /// The scenarios, comma-separated.
    #[arg(value_delimiter = ',', default_values = ["single", "single-50", "load-64", "waiting-4000", "waiting-10000"])]
    scenarios: Vec<String>,
    /// The number of workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    workers: u16,
    /// The minimum number of seconds that a scenario is measured.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Use compiled programs from this directory.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Compare with the programs in this directory: both stacks run, and chats go to them alternately. Only for scenarios
    /// with one chat at a time.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// A setting of the API and the workers. Can be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// The file of the JSON report.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The size of full tables, relative to 10,000,000 messages and 1,000,000 tasks.
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Print the SQL statements that took the most time.
    #[arg(long)]
    statements: bool,
    /// Do not run `pgbench` and `pg_test_fsync`.
    #[arg(long)]
    no_pgbench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error_line(&format!("errand-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    // The client and the API each need a file descriptor for every waiting chat.
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
    let baseline = match &args.against {
        Some(_) if scenarios.iter().any(|scenario| scenario.clients != 1) => {
            return Err("--against requires scenarios with one chat at a time".into());
        }
        Some(folder) => Some(programs(Some(folder)).await?),
        None => None,
    };
    let mut report = Report::new(args.workers);
    if !args.no_pgbench {
        report.set_flush(fsync::mean_ms().await?);
    }
    for scenario in scenarios {
        print::line(&format!("{}: {}", scenario.name, scenario.description));
        let stack = stack::Stack::start(&own, &scenario, args.workers, &settings).await?;
        report.add_starts(stack.starts());
        let seed_size = SeedSize::scaled(args.scale);
        let measure = |stack, turn| scenario.measure(stack, args.seconds, seed_size, turn);
        let measured = match &baseline {
            None => vec![measure(&stack, None).await],
            Some(baseline) => {
                let other = stack::Stack::start(baseline, &scenario, args.workers, &settings).await?;
                let turn = Arc::new(Mutex::new(()));
                let measured = tokio::join!(
                    measure(&stack, Some(Arc::clone(&turn))),
                    measure(&other, Some(turn))
                );
                other.stop().await?;
                vec![measured.0, measured.1]
            }
        };
        if scenario.has_pgbench && !args.no_pgbench && measured.iter().all(Result::is_ok) {
            let result = pgbench::run(&stack, scenario.clients, scenario.model(), args.seconds);
            report.add_pgbench(result.await?);
        }
        stack.stop().await?;
        for (measured, is_baseline) in measured.into_iter().zip([false, true]) {
            match measured? {
                Measured::Chats(row) if is_baseline => report.add(row.of_baseline()),
                Measured::Chats(row) => report.add(*row),
                Measured::Idle(idle) => report.set_idle(idle),
            }
        }
    }
    report.print(args.statements);
    if let Some(file) = args.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

async fn programs(dir: Option<&Path>) -> Result<Programs> {
    Ok(match dir {
        Some(dir) => Programs::in_dir(dir, true)?,
        None => Programs::build(BuildProfile::Release, true, &[]).await?,
    })
}

fn scale(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.0..=1.0).contains(&scale) => Ok(scale),
        _ => Err("must be between 0 and 1".to_owned()),
    }
}
