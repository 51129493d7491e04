//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Runs Errand's programs with a Postgres, a Redis and a model of their own, offers load, breaks things, and compares
/// what the clients were promised with what is stored. Exit code 0 only if every promise was kept.
#[derive(Clone, Debug, Parser)]
#[command(name = "errand-chaos", version)]
pub(crate) struct Args {
    /// How much is tried.
    #[arg(long, value_enum, default_value_t = Round::Short)]
    pub(crate) round: Round,
    /// Makes the choice of faults and messages repeatable; drawn and printed if absent.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Messages, at least.
    #[arg(long)]
    pub(crate) chats: Option<usize>,
    /// Faults, at least one of each kind.
    #[arg(long)]
    pub(crate) faults: Option<usize>,
    /// Faults whose name contains this, and no others.
    #[arg(long, value_name = "KIND")]
    pub(crate) only: Option<String>,
    /// Where the report is written as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/faults.json")]
    pub(crate) report: PathBuf,
    /// Leave the folder with logs and data behind.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Show that the harness notices broken promises: rounds with Errand sabotaged, each of which must be found out.
    #[arg(long, conflicts_with_all = ["round", "only", "faults"])]
    pub(crate) sanity: bool,
}

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Round {
    /// Each kind of fault once, the long ones shortened: two to three minutes.
    Short,
    /// At least 200 faults and 5,000 messages: about half an hour.
    Long,
}

impl Round {
    /// Messages, at least.
    pub(crate) const fn chats(self) -> usize {
        match self {
            Self::Short => 300,
            Self::Long => 5000,
        }
    }

    /// Faults, if each kind once is not more.
    pub(crate) const fn faults(self) -> usize {
        match self {
            Self::Short => 0,
            Self::Long => 200,
        }
    }
}
