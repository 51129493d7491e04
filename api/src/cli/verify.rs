//! `errand-api verify`: checks the promises on a live database and tells what it counted.
//!
//! It reads and never writes; what the checks are stands with their SQL in the shared crate.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use clap::Args;
use errand_shared::{
    service::config::{StoreSettings, milliseconds, seconds},
    storage::{
        audit::{self, AuditLimits, Check, Found},
        schema::{self, Compatibility},
    },
};
use serde::Serialize;
use sqlx::{ConnectOptions, Connection};

/// What is checked, and how it is told.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct VerifySettings {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub store: StoreSettings,
    /// Age of a heartbeat at which a worker counts as dead, in milliseconds, as the workers have it.
    #[arg(long, env = "WORKER_DEAD_AFTER_MS", default_value = "6000", value_parser = milliseconds)]
    pub worker_dead_after_ms: Duration,
    /// Distance of the rescuer's sweeps, in milliseconds, as the workers have it.
    #[arg(long, env = "RESCUE_INTERVAL_MS", default_value = "1000", value_parser = milliseconds)]
    pub rescue_interval_ms: Duration,
    /// How much longer a rescue may take than these two together, in milliseconds.
    #[arg(long, default_value = "3000", value_parser = milliseconds)]
    pub slack_ms: Duration,
    /// How long a run may wait to be claimed while workers have room, in milliseconds.
    #[arg(long, default_value = "60000", value_parser = milliseconds)]
    pub queued_limit_ms: Duration,
    /// How long one check may take, in seconds.
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub check_timeout_seconds: Duration,
    /// Offenders that are named of each check, at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub show: u32,
    /// Also check that each task comes from one tool call: where nobody uses the tasks' own routes, and no conversation
    /// was deleted.
    #[arg(long)]
    pub only_chats: bool,
    /// Also check that no run is open.
    #[arg(long)]
    pub settled: bool,
    /// Print JSON in place of a table.
    #[arg(long)]
    pub json: bool,
    /// Tell of each check on standard error as it ends; on a terminal it is told anyway.
    #[arg(long)]
    pub progress: bool,
}

impl VerifySettings {
    fn limits(&self) -> AuditLimits {
        AuditLimits {
            rescue_seconds: (self.worker_dead_after_ms + self.rescue_interval_ms + self.slack_ms)
                .as_secs_f64(),
            alive_seconds: self.worker_dead_after_ms.as_secs_f64(),
            queued_seconds: self.queued_limit_ms.as_secs_f64(),
            offenders: i64::from(self.show),
        }
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = Check::ALWAYS.to_vec();
        if self.only_chats {
            checks.push(Check::Origins);
        }
        if self.settled {
            checks.push(Check::Settled);
        }
        checks
    }
}

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database has another schema than this program's.
    #[error("the database's schema does not go with this program: {0:?}")]
    Schema(Compatibility),
    /// A fault of Postgres.
    #[error("Postgres: {0}")]
    Database(#[from] sqlx::Error),
    /// A fault of Postgres in the middle of a check.
    #[error("Postgres, while checking {0}: {1}")]
    Check(&'static str, #[source] sqlx::Error),
    /// The report can't be written as JSON.
    #[error("the report: {0}")]
    Json(#[from] serde_json::Error),
}

/// What one check came to.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    check: &'static str,
    promise: &'static str,
    examined: i64,
    violations: i64,
    ms: u64,
    offenders: Vec<String>,
}

/// What all checks came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every promise holds.
    pub ok: bool,
    checks: Vec<Line>,
}

/// Makes the checks one after the other on one connection; `progress` is told of each as it ends.
///
/// # Errors
/// See [`VerifyError`]; then nothing is known of the checks that were not made.
pub async fn verify(
    settings: &VerifySettings,
    mut progress: Option<&mut (dyn Write + Send)>,
) -> Result<Report, VerifyError> {
    let mut connection = audit::options(&settings.store, settings.check_timeout_seconds)?
        .connect()
        .await?;
    let compatibility = schema::compatibility(&mut connection).await?;
    if compatibility != Compatibility::Compatible {
        return Err(VerifyError::Schema(compatibility));
    }
    let checks = settings.checks();
    let mut lines = Vec::with_capacity(checks.len());
    for (number, check) in checks.iter().enumerate() {
        let began = Instant::now();
        let found = check
            .run(&mut connection, settings.limits())
            .await
            .map_err(|error| VerifyError::Check(check.name(), error))?;
        let line = Line::new(*check, found, began.elapsed());
        if let Some(progress) = &mut progress {
            // Nobody to tell is no reason to stop.
            drop(writeln!(
                progress,
                "{}/{} {}: {} examined, {} violations, {} ms",
                number + 1,
                checks.len(),
                line.check,
                line.examined,
                line.violations,
                line.ms
            ));
        }
        lines.push(line);
    }
    connection.close().await?;
    Ok(Report {
        ok: lines.iter().all(|line| line.violations == 0),
        checks: lines,
    })
}

impl Line {
    fn new(check: Check, found: Found, took: Duration) -> Self {
        Self {
            check: check.name(),
            promise: check.promise(),
            examined: found.examined,
            violations: found.violations,
            ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            offenders: found.offenders,
        }
    }

    /// The first offenders by name, and how many more there are.
    fn offences(&self) -> String {
        let mut rows = vec![format!("\n{}: {} violations", self.check, self.violations)];
        rows.extend(self.offenders.iter().map(|offender| format!("  {offender}")));
        let named = i64::try_from(self.offenders.len()).unwrap_or(i64::MAX);
        if self.violations > named {
            rows.push(format!("  and {} more", self.violations - named));
        }
        rows.join("\n") + "\n"
    }
}

impl Report {
    /// The report as a person or a program wants it.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub fn text(&self, json: bool) -> Result<String, VerifyError> {
        if json {
            return Ok(serde_json::to_string_pretty(self)? + "\n");
        }
        let mut text = row("check", "examined", "violations", "ms", "promise");
        for line in &self.checks {
            let counts = [line.examined, line.violations].map(|count| count.to_string());
            let [examined, violations] = &counts;
            text += &row(
                line.check,
                examined,
                violations,
                &line.ms.to_string(),
                line.promise,
            );
        }
        text.extend(
            self.checks
                .iter()
                .filter(|line| line.violations > 0)
                .map(Line::offences),
        );
        text += if self.ok {
            "\nAll promises hold.\n"
        } else {
            "\nNot all promises hold.\n"
        };
        Ok(text)
    }
}

fn row(check: &str, examined: &str, violations: &str, ms: &str, promise: &str) -> String {
    format!("{check:<15}{examined:>12}{violations:>12}{ms:>9}  {promise}\n")
}
