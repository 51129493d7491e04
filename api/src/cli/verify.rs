//! `errand-api verify`: checks the guarantees of Errand on a live database and reports what it counted.
//!
//! It never writes. The checks and their SQL are in the shared crate.

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

/// Arguments of `verify`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct VerifySettings {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub store: StoreSettings,
    /// Age of a heartbeat, in milliseconds, at which a worker counts as dead. Must be the workers' setting.
    #[arg(long, env = "WORKER_DEAD_AFTER_MS", default_value = "6000", value_parser = milliseconds)]
    pub worker_dead_after_ms: Duration,
    /// Interval of the rescuer, in milliseconds. Must be the workers' setting.
    #[arg(long, env = "RESCUE_INTERVAL_MS", default_value = "1000", value_parser = milliseconds)]
    pub rescue_interval_ms: Duration,
    /// How much longer than the sum of these two a rescue may take, in milliseconds.
    #[arg(long, default_value = "3000", value_parser = milliseconds)]
    pub slack_ms: Duration,
    /// How long a run may be queued while workers have free slots, in milliseconds.
    #[arg(long, default_value = "60000", value_parser = milliseconds)]
    pub queued_limit_ms: Duration,
    /// Time limit of a check, in seconds.
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub check_timeout_seconds: Duration,
    /// Maximum number of violations to list per check.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub show: u32,
    /// Also check that each task was created by exactly one tool call. Only useful if no task was created through the API and no
    /// conversation was deleted.
    #[arg(long)]
    pub only_chats: bool,
    /// Also check that no run is open.
    #[arg(long)]
    pub settled: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Report each finished check on standard error, even if that is not a terminal.
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

/// Why the checks could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The schema has an incompatible version.
    #[error("the schema of the database is not compatible with this program: {0:?}")]
    Schema(Compatibility),
    /// A database error.
    #[error("Postgres: {0}")]
    Database(#[from] sqlx::Error),
    /// A database error during a check.
    #[error("Postgres, while checking {0}: {1}")]
    Check(&'static str, #[source] sqlx::Error),
    /// The report could not be serialized.
    #[error("the report: {0}")]
    Json(#[from] serde_json::Error),
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    check: &'static str,
    promise: &'static str,
    examined: i64,
    violations: i64,
    ms: u64,
    offenders: Vec<String>,
}

/// The results of all checks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether there are no violations.
    pub ok: bool,
    checks: Vec<Line>,
}

/// Runs the checks one after another on one connection, and writes a line to `progress` after each.
///
/// # Errors
/// See [`VerifyError`]. The remaining checks are not run.
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
            // A closed standard error does not stop the checks.
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

    /// The listed violations, and the number of the others.
    fn violations_text(&self) -> String {
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
    /// The report as a table or as JSON.
    ///
    /// # Errors
    /// If it cannot be serialized.
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
                .map(Line::violations_text),
        );
        text += if self.ok {
            "\nNo violations found.\n"
        } else {
            "\nViolations found.\n"
        };
        Ok(text)
    }
}

fn row(check: &str, examined: &str, violations: &str, ms: &str, promise: &str) -> String {
    format!("{check:<15}{examined:>12}{violations:>12}{ms:>9}  {promise}\n")
}
