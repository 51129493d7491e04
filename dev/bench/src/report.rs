//! The results, as a table for people and as JSON for programs.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use serde::Serialize;

use crate::{
    load::Summary,
    pgbench::Reached,
    procfs::{Usage, Used},
    scenario::Scenario,
    stores::{Claims, Counters},
};

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    cores: usize,
    workers: u16,
    /// Milliseconds of a flush, as `pg_test_fsync` has it.
    flush_ms: Option<f64>,
    pgbench: Vec<Reached>,
    /// Milliseconds from a program's start until it is ready, the longest of the session.
    starts_ms: BTreeMap<&'static str, u128>,
    idle: Option<Idle>,
    rows: Vec<Row>,
}

/// What one scenario came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    scenario: &'static str,
    /// Whether it is of the programs that the others are compared with.
    against: bool,
    clients: usize,
    model_ms: u128,
    /// Chats a second if nothing but the model took time; none if the model takes none.
    ideal_rate: Option<f64>,
    summary: Summary,
    claims: Claims,
    used: Usage,
    counted: Counters,
    statements: Vec<String>,
}

/// What doing nothing costs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Idle {
    seconds: u64,
    used: Usage,
    counted: Counters,
}

impl Idle {
    /// What so many seconds without a chat came to.
    pub(crate) const fn new(seconds: u64, used: Usage, counted: Counters) -> Self {
        Self {
            seconds,
            used,
            counted,
        }
    }

    fn print(&self) {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let a_second = |count: i64| count as f64 / self.seconds.max(1) as f64;
        let share = |kind| a_second(i64::try_from(self.used.of_kind(kind).cpu_ms).unwrap_or(i64::MAX)) / 10.0;
        tell(&format!(
            "\nIdle, of a core: api {:.2} %, worker {:.2} %, postgres {:.2} %, redis {:.2} %. \
             A second: {:.1} statements, {:.1} commits, {:.1} commands of Redis.",
            share("api"),
            share("worker"),
            share("postgres"),
            share("redis"),
            a_second(self.counted.statements.unwrap_or_default()),
            a_second(self.counted.commits),
            a_second(self.counted.redis_commands),
        ));
    }
}

impl Row {
    /// A scenario's results.
    pub(crate) fn new(
        scenario: &Scenario,
        summary: Summary,
        claims: Claims,
        used: Usage,
        counted: Counters,
    ) -> Self {
        let ideal = scenario.ideal().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "some thousand clients")]
        let ideal_rate = (ideal > 0.0).then(|| scenario.clients as f64 / ideal);
        Self {
            scenario: scenario.name,
            against: false,
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

    /// With the statements that took the most time, a line each.
    pub(crate) fn with_statements(self, statements: Vec<String>) -> Self {
        Self { statements, ..self }
    }

    /// The same of the programs that the others are compared with.
    pub(crate) fn against(self) -> Self {
        Self {
            against: true,
            ..self
        }
    }

    fn name(&self) -> String {
        let which = if self.against { ", against" } else { "" };
        format!("{}{which}", self.scenario)
    }

    fn print_speed(&self) {
        let of_ideal = self.ideal_rate.map_or_else(String::new, |ideal| {
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
        tell(&format!(
            "| {} | {rate:.0} | {of_ideal} | {p50:.1} | {p95:.1} | {p99:.1} | {max:.1} | {:.1} | {:.1} |",
            self.name(),
            self.claims.p50,
            self.claims.p99
        ));
    }

    fn print_cost(&self) {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let a_chat = |count: i64| count as f64 / self.summary.chats.max(1) as f64;
        let cpu = |kind| {
            let Used { cpu_ms, .. } = self.used.of_kind(kind);
            format!("{:.2}", a_chat(i64::try_from(cpu_ms).unwrap_or(i64::MAX)))
        };
        tell(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.1} | {:.2} | {} | {} |",
            self.name(),
            cpu("api"),
            cpu("worker"),
            cpu("postgres"),
            cpu("redis"),
            cpu("model"),
            self.counted
                .statements
                .map_or_else(String::new, |statements| format!("{:.2}", a_chat(statements))),
            a_chat(self.counted.commits),
            a_chat(self.counted.flushes),
            a_chat(self.counted.log_kib),
            a_chat(self.counted.redis_commands),
            self.used.of_kind("api").resident_mib,
            self.used.of_kind("worker").resident_mib,
        ));
    }
}

impl Report {
    /// Nothing measured yet.
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

    /// Takes in how long a flush takes.
    pub(crate) const fn flush(&mut self, ms: f64) {
        self.flush_ms = Some(ms);
    }

    /// Takes in what `pgbench` reached.
    pub(crate) fn pgbench(&mut self, reached: Reached) {
        self.pgbench.push(reached);
    }

    /// Takes in how long programs took to start.
    pub(crate) fn starts(&mut self, starts: &[(&'static str, Duration)]) {
        for (kind, time) in starts {
            let longest = self.starts_ms.entry(kind).or_default();
            *longest = time.as_millis().max(*longest);
        }
    }

    /// Takes in what doing nothing costs.
    pub(crate) fn idle(&mut self, idle: Idle) {
        self.idle = Some(idle);
    }

    /// Takes in a scenario.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints the tables, as Markdown, with each statement's share if asked for.
    pub(crate) fn print(&self, statements: bool) {
        tell(&format!(
            "\n{} cores, {} worker{}. Times in ms beyond the model's; the claim's from the begin of the post's transaction.\n",
            self.cores,
            self.workers,
            if self.workers == 1 { "" } else { "s" }
        ));
        if let Some(ms) = self.flush_ms {
            tell(&format!("A flush takes {ms:.2} ms (pg_test_fsync, fdatasync).\n"));
        }
        tell("| scenario | chats/s | of ideal | p50 | p95 | p99 | max | claimed p50 | p99 |");
        tell("|---|---|---|---|---|---|---|---|---|");
        self.rows.iter().for_each(Row::print_speed);
        for reached in &self.pgbench {
            let Reached {
                sessions,
                model_ms,
                rate,
                latency_ms,
            } = reached;
            tell(&format!(
                "| pgbench, {sessions} session{}, {model_ms} ms | {rate:.0} | | {latency_ms:.1} (mean) | | | | | |",
                if *sessions == 1 { "" } else { "s" },
            ));
        }
        tell(
            "\nA chat in CPU ms by program, statements, commits and flushes of Postgres, commands of Redis; memory in MiB at the end.\n",
        );
        tell(
            "| scenario | api | worker | postgres | redis | model | statements | commits | flushes | log KiB | redis commands | api MiB | worker MiB |",
        );
        tell("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        self.rows.iter().for_each(Row::print_cost);
        if let Some(idle) = &self.idle {
            idle.print();
        }
        let starts: Vec<_> = self
            .starts_ms
            .iter()
            .map(|(kind, ms)| format!("{kind} {ms} ms"))
            .collect();
        tell(&format!("\nFrom start to ready, at most: {}.", starts.join(", ")));
        if statements {
            self.print_statements();
        }
    }

    fn print_statements(&self) {
        for row in &self.rows {
            tell(&format!("\n{}\n", row.name()));
            tell("| ms a chat | calls | ms a call | rows a call | pages a chat | statement |");
            tell("|---|---|---|---|---|---|");
            row.statements.iter().for_each(|line| tell(line));
        }
    }
}

/// A line for whoever reads along.
pub(crate) fn tell(line: &str) {
    // Nobody to tell when stdout is gone.
    drop(writeln!(std::io::stdout(), "{line}"));
}
