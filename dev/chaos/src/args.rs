//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Runs Errand's programs under load, injects faults, and compares the responses that clients received with the stored
/// data. The exit code is 0 only if no guarantee was violated.
#[derive(Clone, Debug, Parser)]
#[command(name = "errand-chaos", version)]
pub(crate) struct Args {
    /// The length of the round.
    #[arg(long, value_enum, default_value_t = Round::Short)]
    pub(crate) round: Round,
    /// Makes the choice of faults and messages repeatable [default: random, printed].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The minimum number of messages.
    #[arg(long)]
    pub(crate) chats: Option<usize>,
    /// The minimum number of faults. Each kind is injected at least once.
    #[arg(long)]
    pub(crate) faults: Option<usize>,
    /// Inject only faults whose name contains this.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
    /// The file of the JSON report.
    #[arg(long, value_name = "FILE", default_value = "target/chaos.json")]
    pub(crate) report: PathBuf,
    /// Keep the directory with logs and data.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Test the harness: run rounds with a guarantee broken on purpose, which must be reported.
    #[arg(long, conflicts_with_all = ["round", "only", "faults"])]
    pub(crate) self_test: bool,
}

/// The length of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Round {
    /// Each kind of fault once, long ones shortened: two to three minutes.
    Short,
    /// At least 200 faults and 5,000 messages: about 15 minutes.
    Long,
}

impl Round {
    /// The default minimum number of messages.
    pub(crate) const fn chats(self) -> usize {
        match self {
            Self::Short => 300,
            Self::Long => 5000,
        }
    }

    /// The default minimum number of faults.
    pub(crate) const fn faults(self) -> usize {
        match self {
            Self::Short => 0,
            Self::Long => 200,
        }
    }
}
