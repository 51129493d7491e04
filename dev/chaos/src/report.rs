//! What a round has shown: a table for people, JSON for programs.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    book::Book,
    record::{Record, Violation},
    say::say,
};

/// A round.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    seconds: u64,
    /// Messages sent by clients.
    messages: usize,
    /// Messages whose run was promised.
    promised: usize,
    /// Messages whose events were read.
    read: usize,
    /// Readers whose stream was cut off in its middle.
    cut_off: usize,
    /// Runs with tool calls that had more attempts than they would have without faults.
    tools_again: usize,
    /// Calls that were made with their user's consent.
    consented: usize,
    /// Runs by how they ended.
    runs: BTreeMap<String, usize>,
    /// Failed runs by reason.
    failures: BTreeMap<String, usize>,
    faults: BTreeMap<String, Kind>,
    /// The same for the runs of killed workers, until others had taken them up.
    taken_up: Kind,
    /// Starts of programs beyond the first.
    restarts: u32,
    /// What the API's own check said; none if it has none.
    verified: Option<bool>,
    pub(crate) violations: Vec<Violation>,
}

/// The faults of one kind.
#[derive(Debug, Serialize)]
struct Kind {
    count: usize,
    /// Milliseconds until the first new message was answered.
    median_ms: u128,
    max_ms: u128,
}

/// What a round is made of, but for what is stored.
pub(crate) struct Parts<'a> {
    pub(crate) seed: u64,
    pub(crate) took: Duration,
    pub(crate) recoveries: Vec<(String, Duration)>,
    pub(crate) takeovers: Vec<Duration>,
    pub(crate) restarts: u32,
    pub(crate) verified: Option<bool>,
    pub(crate) record: &'a Record,
}

impl Report {
    pub(crate) fn new(parts: Parts<'_>, book: &Book) -> Self {
        let mut runs = BTreeMap::new();
        let mut failures = BTreeMap::new();
        for run in book.runs.values() {
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
            .map(|(name, times)| (name, Kind::of(times)))
            .collect();
        let sent = parts.record.all();
        Self {
            seed: parts.seed,
            seconds: parts.took.as_secs(),
            messages: sent.len(),
            promised: sent.iter().filter(|sent| sent.run.is_some()).count(),
            read: sent.iter().filter(|sent| sent.seen.has_begun()).count(),
            cut_off: sent.iter().filter(|sent| sent.seen.cut_off).count(),
            tools_again: book.tools_again,
            consented: book.consented,
            runs,
            failures,
            faults,
            taken_up: Kind::of(parts.takeovers.iter().map(Duration::as_millis).collect()),
            restarts: parts.restarts,
            verified: parts.verified,
            violations: parts.record.violations(),
        }
    }

    /// Shows it to whoever has called.
    pub(crate) fn show(&self) {
        say("\n| fault | times | answered again after, median | at most |\n|---|---|---|---|");
        for (name, kind) in &self.faults {
            say(&format!(
                "| {name} | {} | {} ms | {} ms |",
                kind.count, kind.median_ms, kind.max_ms
            ));
        }
        let faults: usize = self.faults.values().map(|kind| kind.count).sum();
        let worst = self
            .faults
            .values()
            .map(|kind| kind.max_ms)
            .max()
            .unwrap_or_default();
        say(&format!(
            "\nseed {}: {faults} faults, {} messages ({} promised), {} restarts, {} s; the slowest recovery took {worst} ms",
            self.seed, self.messages, self.promised, self.restarts, self.seconds
        ));
        say(&format!(
            "{} messages' events were read, {} of them by readers whose stream was cut off in its middle and who came back",
            self.read, self.cut_off
        ));
        say(&format!(
            "{} runs with tool calls needed more attempts than a round without faults, {} calls were made with consent",
            self.tools_again, self.consented
        ));
        let taken_up = &self.taken_up;
        if taken_up.count > 0 {
            say(&format!(
                "runs of {} killed workers were taken up after {} ms (median), {} ms at most",
                taken_up.count, taken_up.median_ms, taken_up.max_ms
            ));
        }
        say(&format!("runs: {}", counted(&self.runs)));
        if !self.failures.is_empty() {
            say(&format!("failed: {}", counted(&self.failures)));
        }
        match self.verified {
            Some(true) => say("errand-api verify: all holds"),
            Some(false) => say("errand-api verify: NOT all holds"),
            None => say("errand-api verify: this version has none"),
        }
        say(&format!("violations: {}", self.violations.len()));
        for violation in self.violations.iter().take(50) {
            say(&format!("  {}: {}", violation.what, violation.detail));
        }
    }
}

impl Kind {
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
