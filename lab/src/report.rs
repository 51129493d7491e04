//! The results, as a table for people and as JSON for programs.

use std::io::Write as _;

use serde::Serialize;

use crate::{
    load::Summary,
    pgbench::Reached,
    procfs::{Usage, Used},
    scenario::Scenario,
    stores::Counters,
};

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    cores: usize,
    workers: u16,
    pgbench: Option<Reached>,
    rows: Vec<Row>,
}

/// What one scenario came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    scenario: &'static str,
    clients: usize,
    model_ms: u128,
    /// Chats a second if nothing but the model took time; none if the model takes none.
    ideal_rate: Option<f64>,
    summary: Summary,
    used: Usage,
    counted: Counters,
}

impl Row {
    /// A scenario's results.
    pub(crate) fn new(scenario: &Scenario, summary: Summary, used: Usage, counted: Counters) -> Self {
        let ideal = scenario.ideal().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "some thousand clients")]
        let ideal_rate = (ideal > 0.0).then(|| scenario.clients as f64 / ideal);
        Self {
            scenario: scenario.name,
            clients: scenario.clients,
            model_ms: scenario.model.as_millis(),
            ideal_rate,
            summary,
            used,
            counted,
        }
    }
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(workers: u16) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            workers,
            pgbench: None,
            rows: Vec::new(),
        }
    }

    /// Takes in what `pgbench` reached.
    pub(crate) const fn pgbench(&mut self, reached: Reached) {
        self.pgbench = Some(reached);
    }

    /// Takes in a scenario.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints the tables, as Markdown.
    pub(crate) fn print(&self) {
        tell(&format!(
            "\n{} cores, {} worker{}. Times in ms beyond the model's.\n",
            self.cores,
            self.workers,
            if self.workers == 1 { "" } else { "s" }
        ));
        tell("| scenario | chats/s | of ideal | p50 | p95 | p99 | max |");
        tell("|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let of_ideal = row.ideal_rate.map_or_else(String::new, |ideal| {
                format!("{:.1} %", row.summary.rate / ideal * 100.0)
            });
            let Summary {
                rate,
                p50,
                p95,
                p99,
                max,
                ..
            } = &row.summary;
            tell(&format!(
                "| {} | {rate:.0} | {of_ideal} | {p50:.1} | {p95:.1} | {p99:.1} | {max:.1} |",
                row.scenario
            ));
        }
        if let Some(Reached { rate, latency_ms }) = self.pgbench {
            tell(&format!(
                "| pgbench, 64 sessions | {rate:.0} | | {latency_ms:.1} (mean) | | | |"
            ));
        }
        tell(
            "\nA chat in CPU ms by program, commits and flushes of Postgres, commands of Redis; memory in MiB at the end.\n",
        );
        tell(
            "| scenario | api | worker | postgres | redis | model | commits | flushes | log KiB | redis commands | api MiB | worker MiB |",
        );
        tell("|---|---|---|---|---|---|---|---|---|---|---|---|");
        for row in &self.rows {
            #[expect(clippy::cast_precision_loss, reason = "for people to read")]
            let a_chat = |count: i64| count as f64 / row.summary.chats.max(1) as f64;
            let used = |kind| row.used.0.get(kind).copied().unwrap_or_default();
            let cpu = |kind| {
                let Used { cpu_ms, .. } = used(kind);
                format!("{:.2}", a_chat(i64::try_from(cpu_ms).unwrap_or(i64::MAX)))
            };
            tell(&format!(
                "| {} | {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.1} | {:.2} | {} | {} |",
                row.scenario,
                cpu("api"),
                cpu("worker"),
                cpu("postgres"),
                cpu("redis"),
                cpu("model"),
                a_chat(row.counted.commits),
                a_chat(row.counted.flushes),
                a_chat(row.counted.log_kib),
                a_chat(row.counted.redis_commands),
                used("api").resident_mib,
                used("worker").resident_mib,
            ));
        }
    }
}

/// A line for whoever reads along.
pub(crate) fn tell(line: &str) {
    // Nobody to tell when stdout is gone.
    drop(writeln!(std::io::stdout(), "{line}"));
}
