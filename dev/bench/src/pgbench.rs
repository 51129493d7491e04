//! What this machine's Postgres does with the least SQL that a chat can be: three statements, three flushed commits.

use std::{process::Stdio, time::Duration};

use errand_quickstart::postgres::Postgres;
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;

use crate::{Result, stack::Stack};

/// Threads of `pgbench`, at most.
const JOBS: usize = 2;
const DATABASE: &str = "pgbench";
const CHAT: &str = include_str!("../chat.sql");
/// The lines of it at which nothing happens for as long as the model takes.
const MODEL: &str = "-- Here the model thinks.";

/// What `pgbench` reached.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Reached {
    /// Sessions at once, as many as chats in the scenario that it is compared with.
    pub(crate) sessions: usize,
    /// How long the sessions did nothing in place of the model, in milliseconds, twice a chat.
    pub(crate) model_ms: u128,
    /// Chats a second.
    pub(crate) rate: f64,
    /// Milliseconds a chat beyond what the model took, on average.
    pub(crate) latency_ms: f64,
}

/// Runs it on a database of its own with the same schema, on the same server.
pub(crate) async fn run(stack: &Stack, sessions: usize, model: Duration, seconds: u64) -> Result<Reached> {
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
            format!("--jobs={}", sessions.min(JOBS)),
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
    let said = String::from_utf8_lossy(&output.stdout);
    let number = |start: &str| -> std::result::Result<f64, String> {
        said.lines()
            .find_map(|line| {
                line.strip_prefix(start)?
                    .split_ascii_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .ok_or_else(|| format!("pgbench: {said}{}", String::from_utf8_lossy(&output.stderr)))
    };
    Ok(Reached {
        sessions,
        model_ms,
        rate: number("tps = ")?,
        latency_ms: number("latency average = ")? - model.as_secs_f64() * 2000.0,
    })
}

/// A database with the programs' schema and a user for each session.
async fn prepare(postgres: &Postgres, users: usize) -> Result<String> {
    postgres.create_database(DATABASE).await?;
    let url = postgres.url_of(DATABASE);
    let schema = std::fs::read_dir(errand_quickstart::cargo::repository().join("migrations"))?
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
    fn the_model_is_waited_for_twice() {
        assert_eq!(CHAT.matches(MODEL).count(), 2);
    }
}
