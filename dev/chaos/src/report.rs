//! The report of a round: a table and JSON.

use std::{collections::BTreeMap, time::Duration};

use errand_devstack::print;
use serde::Serialize;

use crate::{
    record::{Record, Violation},
    stored_state::StoredState,
};

/// The results of a round.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    seconds: u64,
    /// Messages that clients sent.
    messages: usize,
    /// Messages whose run was in a response.
    accepted: usize,
    /// Messages whose events were received.
    streamed: usize,
    /// Messages whose event stream broke before the final event.
    cut_off: usize,
    /// Runs with tool calls that had more attempts than without faults.
    extra_attempts: usize,
    /// Tool calls that were approved and succeeded.
    approved_calls: usize,
    /// Runs by status.
    runs: BTreeMap<String, usize>,
    /// Failed runs by reason.
    failures: BTreeMap<String, usize>,
    /// Recovery times by fault.
    faults: BTreeMap<String, Times>,
    /// Times until the runs of killed workers were rescued.
    rescues: Times,
    /// Starts of programs beyond the first.
    restarts: u32,
    /// The result of `errand-api verify`.
    is_verified: bool,
    pub(crate) violations: Vec<Violation>,
}

/// Times of one kind.
#[derive(Debug, Serialize)]
struct Times {
    count: usize,
    median_ms: u128,
    max_ms: u128,
}

/// The results of a round besides the stored state.
pub(crate) struct Parts<'a> {
    pub(crate) seed: u64,
    pub(crate) took: Duration,
    pub(crate) recoveries: Vec<(String, Duration)>,
    pub(crate) rescues: Vec<Duration>,
    pub(crate) restarts: u32,
    pub(crate) is_verified: bool,
    pub(crate) record: &'a Record,
}

impl Report {
    pub(crate) fn new(parts: Parts<'_>, state: &StoredState) -> Self {
        let mut runs = BTreeMap::new();
        let mut failures = BTreeMap::new();
        for run in state.runs.values() {
            *runs.entry(run.status.clone()).or_default() += 1;
            if let (Some(reason), "failed") = (&run.reason, run.status.as_str()) {
                *failures.entry(reason.clone()).or_default() += 1;
            }
        }
        let mut times: BTreeMap<String, Vec<u128>> = BTreeMap::new();
        for (name, time) in parts.recoveries {
            times.entry(name).or_default().push(time.as_millis());
        }
        let faults = times
            .into_iter()
            .map(|(name, times)| (name, Times::of(times)))
            .collect();
        let sent = parts.record.all();
        Self {
            seed: parts.seed,
            seconds: parts.took.as_secs(),
            messages: sent.len(),
            accepted: sent.iter().filter(|sent| sent.run.is_some()).count(),
            streamed: sent.iter().filter(|sent| sent.seen.has_events()).count(),
            cut_off: sent.iter().filter(|sent| sent.seen.was_cut_off).count(),
            extra_attempts: state.extra_attempts,
            approved_calls: state.approved_calls,
            runs,
            failures,
            faults,
            rescues: Times::of(parts.rescues.iter().map(Duration::as_millis).collect()),
            restarts: parts.restarts,
            is_verified: parts.is_verified,
            violations: parts.record.violations(),
        }
    }

    /// Prints the report.
    pub(crate) fn show(&self) {
        print::line("\n| fault | times | recovery, median | maximum |\n|---|---|---|---|");
        for (name, times) in &self.faults {
            print::line(&format!(
                "| {name} | {} | {} ms | {} ms |",
                times.count, times.median_ms, times.max_ms
            ));
        }
        let faults: usize = self.faults.values().map(|times| times.count).sum();
        let worst = self
            .faults
            .values()
            .map(|times| times.max_ms)
            .max()
            .unwrap_or_default();
        print::line(&format!(
            "\nseed {}: {faults} faults, {} messages ({} accepted), {} restarts, {} s; the slowest recovery took {worst} ms",
            self.seed, self.messages, self.accepted, self.restarts, self.seconds
        ));
        print::line(&format!(
            "{} event streams were read; {} of them broke before the final event and were resumed",
            self.streamed, self.cut_off
        ));
        print::line(&format!(
            "{} runs with tool calls needed more attempts than without faults; {} tool calls were approved",
            self.extra_attempts, self.approved_calls
        ));
        let rescues = &self.rescues;
        if rescues.count > 0 {
            print::line(&format!(
                "the runs of {} killed workers were rescued after {} ms (median), at most {} ms",
                rescues.count, rescues.median_ms, rescues.max_ms
            ));
        }
        print::line(&format!("runs: {}", counted(&self.runs)));
        if !self.failures.is_empty() {
            print::line(&format!("failed: {}", counted(&self.failures)));
        }
        print::line(if self.is_verified {
            "errand-api verify: no inconsistency"
        } else {
            "errand-api verify: INCONSISTENT"
        });
        print::line(&format!("violations: {}", self.violations.len()));
        for violation in self.violations.iter().take(50) {
            print::line(&format!("  {}: {}", violation.guarantee, violation.detail));
        }
    }
}

impl Times {
    fn of(mut times: Vec<u128>) -> Self {
        times.sort_unstable();
        Self {
            count: times.len(),
            median_ms: times.get(times.len() / 2).copied().unwrap_or_default(),
            max_ms: times.last().copied().unwrap_or_default(),
        }
    }
}

fn counted(counts: &BTreeMap<String, usize>) -> String {
    let parts: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    parts.join(", ")
}
