//! Runs `pgbench` with the minimal SQL of a chat: three statements with one flushed commit each.

use std::{process::Stdio, time::Duration};

use errand_devstack::{Postgres, cargo};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;

use crate::{Result, stack::Stack};

/// The maximum number of threads.
const MAX_JOBS: usize = 2;
const DATABASE: &str = "pgbench";
const CHAT: &str = include_str!("../chat.sql");
/// The lines that are replaced by a pause of the length of a model call.
const MODEL: &str = "-- The model is called here.";

/// The results of `pgbench`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PgbenchResult {
    /// The number of sessions, which is that of the clients of the scenario.
    pub(crate) sessions: usize,
    /// The pause instead of each model call, in milliseconds. There are two for each chat.
    pub(crate) model_ms: u128,
    /// Chats per second.
    pub(crate) rate: f64,
    /// The mean time of a chat in milliseconds, without the pauses.
    pub(crate) latency_ms: f64,
}

/// Runs `pgbench` on another database with the same schema on the same server.
pub(crate) async fn run(
    stack: &Stack,
    sessions: usize,
    model: Duration,
    seconds: u64,
) -> Result<PgbenchResult> {
    let url = prepare(&stack.postgres, sessions).await?;
    let model_ms = model.as_millis();
    let chat = if model_ms > 0 {
        CHAT.replace(MODEL, &format!("\\sleep {model_ms} ms"))
    } else {
        CHAT.to_owned()
    };
    let script = std::env::temp_dir().join(format!("errand-bench-{}.sql", std::process::id()));
    std::fs::write(&script, chat)?;
    let output = Command::new(stack.postgres_bin.join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared"])
        .args([
            format!("--jobs={}", sessions.min(MAX_JOBS)),
            format!("--client={sessions}"),
            format!("--time={seconds}"),
        ])
        .arg("--file")
        .arg(&script)
        .arg(&url)
        .stdin(Stdio::null())
        .output()
        .await?;
    std::fs::remove_file(&script)?;
    let output_text = String::from_utf8_lossy(&output.stdout);
    let number = |start: &str| -> std::result::Result<f64, String> {
        output_text
            .lines()
            .find_map(|line| {
                line.strip_prefix(start)?
                    .split_ascii_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .ok_or_else(|| {
                format!(
                    "pgbench: {output_text}{}",
                    String::from_utf8_lossy(&output.stderr)
                )
            })
    };
    Ok(PgbenchResult {
        sessions,
        model_ms,
        rate: number("tps = ")?,
        latency_ms: number("latency average = ")? - model.as_secs_f64() * 2000.0,
    })
}

/// Creates a database with the programs' schema and a user for each session.
async fn prepare(postgres: &Postgres, users: usize) -> Result<String> {
    postgres.create_database(DATABASE).await?;
    let url = postgres.url_of(DATABASE);
    let schema = std::fs::read_dir(cargo::repository().join("migrations"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut up: Vec<_> = schema
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".up.sql"))
        .collect();
    up.sort();
    let mut connection = PgConnection::connect(&url).await?;
    for path in up {
        let sql = std::fs::read_to_string(path)?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    }
    sqlx::raw_sql(AssertSqlSafe(format!(
        "INSERT INTO users (id, email, name) SELECT lpad(n::text, 32, '0')::uuid, n || '@lab.example', 'Lab' \
         FROM generate_series(1, {users}) n"
    )))
    .execute(&mut connection)
    .await?;
    connection.close().await?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chat_has_two_pauses() {
        assert_eq!(CHAT.matches(MODEL).count(), 2);
    }
}
