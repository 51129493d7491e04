//! The report: Markdown tables and JSON.

use std::{collections::BTreeMap, time::Duration};

use errand_devstack::print::line;
use serde::Serialize;

use crate::{
    db_counters::{Claims, Counters},
    load::Summary,
    pgbench::PgbenchResult,
    procfs::{Usage, Used},
    scenario::Scenario,
};

/// All results.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    cores: usize,
    workers: u16,
    /// The time of a disk flush in milliseconds, by `pg_test_fsync`.
    flush_ms: Option<f64>,
    pgbench: Vec<PgbenchResult>,
    /// The longest time until a program was ready, in milliseconds.
    starts_ms: BTreeMap<&'static str, u128>,
    idle: Option<Idle>,
    rows: Vec<Row>,
}

/// The results of a scenario with chats.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    scenario: &'static str,
    /// Whether the row is of the programs of `--against`.
    #[serde(rename = "against")]
    is_baseline: bool,
    clients: usize,
    model_ms: u128,
    /// Chats per second if only the model took time; `None` if it takes no time.
    ideal_rate: Option<f64>,
    summary: Summary,
    claims: Claims,
    used: Usage,
    counted: Counters,
    statements: Vec<String>,
}

/// The usage of an idle stack.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Idle {
    seconds: u64,
    used: Usage,
    counted: Counters,
}

impl Idle {
    pub(crate) const fn new(seconds: u64, used: Usage, counted: Counters) -> Self {
        Self {
            seconds,
            used,
            counted,
        }
    }

    fn print(&self) {
        #[expect(clippy::cast_precision_loss, reason = "rounded for display")]
        let per_second = |count: i64| count as f64 / self.seconds.max(1) as f64;
        let share =
            |kind| per_second(i64::try_from(self.used.of_kind(kind).cpu_ms).unwrap_or(i64::MAX)) / 10.0;
        line(&format!(
            "\nIdle, CPU of one core: api {:.2} %, worker {:.2} %, postgres {:.2} %, redis {:.2} %. \
             Per second: {:.1} statements, {:.1} commits, {:.1} Redis commands.",
            share("api"),
            share("worker"),
            share("postgres"),
            share("redis"),
            per_second(self.counted.statements.unwrap_or_default()),
            per_second(self.counted.commits),
            per_second(self.counted.redis_commands),
        ));
    }
}

impl Row {
    pub(crate) fn new(
        scenario: &Scenario,
        summary: Summary,
        claims: Claims,
        used: Usage,
        counted: Counters,
    ) -> Self {
        let ideal = scenario.ideal().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "at most some thousand clients")]
        let ideal_rate = (ideal > 0.0).then(|| scenario.clients as f64 / ideal);
        Self {
            scenario: scenario.name,
            is_baseline: false,
            clients: scenario.clients,
            model_ms: scenario.model().as_millis(),
            ideal_rate,
            summary,
            claims,
            used,
            counted,
            statements: Vec::new(),
        }
    }

    pub(crate) fn with_statements(self, statements: Vec<String>) -> Self {
        Self { statements, ..self }
    }

    /// The row as one of the programs of `--against`.
    pub(crate) fn of_baseline(self) -> Self {
        Self {
            is_baseline: true,
            ..self
        }
    }

    fn name(&self) -> String {
        let suffix = if self.is_baseline { ", against" } else { "" };
        format!("{}{suffix}", self.scenario)
    }

    fn print_speed(&self) {
        let share_of_ideal = self.ideal_rate.map_or_else(String::new, |ideal| {
            format!("{:.1} %", self.summary.rate / ideal * 100.0)
        });
        let Summary {
            rate,
            p50,
            p95,
            p99,
            max,
            ..
        } = &self.summary;
        line(&format!(
            "| {} | {rate:.0} | {share_of_ideal} | {p50:.1} | {p95:.1} | {p99:.1} | {max:.1} | {:.1} | {:.1} |",
            self.name(),
            self.claims.p50,
            self.claims.p99
        ));
    }

    fn print_cost(&self) {
        #[expect(clippy::cast_precision_loss, reason = "rounded for display")]
        let per_chat = |count: i64| count as f64 / self.summary.chats.max(1) as f64;
        let cpu = |kind| {
            let Used { cpu_ms, .. } = self.used.of_kind(kind);
            format!("{:.2}", per_chat(i64::try_from(cpu_ms).unwrap_or(i64::MAX)))
        };
        line(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.1} | {:.2} | {} | {} |",
            self.name(),
            cpu("api"),
            cpu("worker"),
            cpu("postgres"),
            cpu("redis"),
            cpu("model"),
            self.counted
                .statements
                .map_or_else(String::new, |statements| format!("{:.2}", per_chat(statements))),
            per_chat(self.counted.commits),
            per_chat(self.counted.flushes),
            per_chat(self.counted.log_kib),
            per_chat(self.counted.redis_commands),
            self.used.of_kind("api").resident_mib,
            self.used.of_kind("worker").resident_mib,
        ));
    }
}

impl Report {
    pub(crate) fn new(workers: u16) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            workers,
            flush_ms: None,
            pgbench: Vec::new(),
            starts_ms: BTreeMap::new(),
            idle: None,
            rows: Vec::new(),
        }
    }

    pub(crate) const fn set_flush(&mut self, ms: f64) {
        self.flush_ms = Some(ms);
    }

    pub(crate) fn add_pgbench(&mut self, result: PgbenchResult) {
        self.pgbench.push(result);
    }

    pub(crate) fn add_starts(&mut self, starts: &[(&'static str, Duration)]) {
        for (kind, time) in starts {
            let longest = self.starts_ms.entry(kind).or_default();
            *longest = time.as_millis().max(*longest);
        }
    }

    pub(crate) fn set_idle(&mut self, idle: Idle) {
        self.idle = Some(idle);
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints the tables as Markdown, optionally with the statements.
    pub(crate) fn print(&self, statements: bool) {
        line(&format!(
            "\n{} cores, {} worker{}. Times in ms without the model; claim times from the start of the transaction that stores the message.\n",
            self.cores,
            self.workers,
            if self.workers == 1 { "" } else { "s" }
        ));
        if let Some(ms) = self.flush_ms {
            line(&format!(
                "A disk flush takes {ms:.2} ms (pg_test_fsync, fdatasync).\n"
            ));
        }
        line("| scenario | chats/s | of ideal | p50 | p95 | p99 | max | claimed p50 | p99 |");
        line("|---|---|---|---|---|---|---|---|---|");
        self.rows.iter().for_each(Row::print_speed);
        for result in &self.pgbench {
            let PgbenchResult {
                sessions,
                model_ms,
                rate,
                latency_ms,
            } = result;
            line(&format!(
                "| pgbench, {sessions} session{}, {model_ms} ms | {rate:.0} | | {latency_ms:.1} (mean) | | | | | |",
                if *sessions == 1 { "" } else { "s" },
            ));
        }
        line(
            "\nPer chat: CPU ms by program, statements, commits and flushes of Postgres, Redis commands. Memory in MiB at the end.\n",
        );
        line(
            "| scenario | api | worker | postgres | redis | model | statements | commits | flushes | log KiB | redis commands | api MiB | worker MiB |",
        );
        line("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        self.rows.iter().for_each(Row::print_cost);
        if let Some(idle) = &self.idle {
            idle.print();
        }
        let starts: Vec<_> = self
            .starts_ms
            .iter()
            .map(|(kind, ms)| format!("{kind} {ms} ms"))
            .collect();
        line(&format!("\nLongest time until ready: {}.", starts.join(", ")));
        if statements {
            self.print_statements();
        }
    }

    fn print_statements(&self) {
        for row in &self.rows {
            line(&format!("\n{}\n", row.name()));
            line("| ms per chat | calls | ms per call | rows per call | pages per chat | statement |");
            line("|---|---|---|---|---|---|");
            row.statements.iter().for_each(|row| line(row));
        }
    }
}
