//! Every query has its index: no statement of ours reads a table that grows from end to end.
//!
//! The statements come from the offline query data, so that none is forgotten. `ERRAND_PLAN_MESSAGES=1000000` fills the
//! tables to that many messages in place of the default; with `--nocapture` the plans are printed. The checks of
//! `errand-api verify` read everything on purpose, and bear a mark that says so.

#![cfg(test)]

use std::{fs, path::Path};

use errand_shared::storage::PLANNING;
use errand_testkit::{Database, variable};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// Tables that grow with use. Workers and schema generations stay few.
const GROWING: [&str; 11] = [
    "users",
    "tasks",
    "task_counters",
    "conversations",
    "runs",
    "messages",
    "steps",
    "tool_calls",
    "asked_calls",
    "idempotency_keys",
    "refresh_tokens",
];

const DEFAULT_MESSAGES: i64 = 200_000;

/// Fills the tables: 5 conversations a user, 40 messages a conversation, every twelfth conversation with a queued run.
fn fill(messages: i64) -> [String; 14] {
    let users = (messages / 200).max(1);
    [
        format!(
            "INSERT INTO users (id, email, name) \
             SELECT gen_random_uuid(), g || '@example.com', 'x' FROM generate_series(1, {users}) g"
        ),
        "INSERT INTO task_counters SELECT id, 20 FROM users".to_owned(),
        "INSERT INTO tasks (user_id, number, title) SELECT id, n, 'task' FROM users, generate_series(1, 20) n"
            .to_owned(),
        "INSERT INTO conversations (id, user_id, title, last_seq) \
         SELECT gen_random_uuid(), id, 'Chat', 40 FROM users, generate_series(1, 5)"
            .to_owned(),
        "INSERT INTO runs (id, conversation_id, user_id, seq, status, finished_at, final_event_seq, worker_id) \
         SELECT gen_random_uuid(), id, user_id, g * 2 - 1, 'succeeded', now(), 1, gen_random_uuid() \
         FROM conversations, generate_series(1, 20) g"
            .to_owned(),
        "INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content) \
         SELECT gen_random_uuid(), conversation_id, seq, id, 0, 'user', 'a message of some length' FROM runs"
            .to_owned(),
        "INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls) \
         SELECT gen_random_uuid(), conversation_id, seq + 1, id, 32767, 'assistant', 'a reply', '[]' FROM runs"
            .to_owned(),
        "INSERT INTO steps (run_id, step, attempt, model) SELECT id, s, 1, 'm' FROM runs, generate_series(0, 1) s"
            .to_owned(),
        "INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success) \
         SELECT id, 0, 0, 'c', 'add_task', '{}', '{}', true FROM runs"
            .to_owned(),
        "INSERT INTO asked_calls (run_id, step, call_index, tool_call_id, tool_name, arguments) \
         SELECT id, 0, 0, 'c', 'delete_task', '{}' FROM runs"
            .to_owned(),
        "INSERT INTO runs (id, conversation_id, user_id, seq) \
         SELECT gen_random_uuid(), id, user_id, 41 FROM conversations WHERE random() < 0.08"
            .to_owned(),
        "INSERT INTO refresh_tokens (token_hash, family_id, user_id, expires_at) \
         SELECT decode(md5(id::text), 'hex'), gen_random_uuid(), id, now() + interval '1 day' FROM users"
            .to_owned(),
        "INSERT INTO idempotency_keys (user_id, key, fingerprint, run_id) \
         SELECT user_id, id::text, sha256(id::text::bytea), id FROM runs"
            .to_owned(),
        "VACUUM ANALYZE".to_owned(),
    ]
}

async fn execute(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap();
}

/// Begins a statement that is meant to read everything.
const READS_EVERYTHING: &str = "/* verify */";

/// Every checked statement of the workspace with its number of parameters, but for those that read everything.
fn statements() -> Vec<(String, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.sqlx");
    let mut statements: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let data: serde_json::Value = serde_json::from_str(&text).unwrap();
            let parameters = data["describe"]["parameters"]["Left"]
                .as_array()
                .map_or(0, Vec::len);
            (data["query"].as_str().unwrap().to_owned(), parameters)
        })
        .filter(|(statement, _)| !statement.trim_start().starts_with(READS_EVERYTHING))
        .collect();
    statements.sort();
    statements
}

fn reads_a_growing_table(line: &str) -> bool {
    line.split_once("Seq Scan on ")
        .is_some_and(|(_, rest)| GROWING.contains(&rest.split(' ').next().unwrap_or_default()))
}

#[tokio::test]
async fn no_statement_scans_a_growing_table() {
    let messages =
        variable("ERRAND_PLAN_MESSAGES").map_or(DEFAULT_MESSAGES, |messages| messages.parse().unwrap());
    let database = Database::new().await;
    let mut connection = PgConnection::connect_with(database.options()).await.unwrap();
    execute(&mut connection, "SET synchronous_commit TO off").await;
    for statement in fill(messages) {
        execute(&mut connection, &statement).await;
    }
    let bad = plan_all(&mut connection).await;
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    connection.close().await.unwrap();
}

/// A plan that is made while the tables are empty is kept for some time.
#[tokio::test]
async fn no_statement_planned_in_an_empty_database_scans_a_growing_table() {
    let database = Database::new().await;
    let mut connection = PgConnection::connect_with(database.options()).await.unwrap();
    let bad = plan_all(&mut connection).await;
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    connection.close().await.unwrap();
}

/// Plans all statements as the programs' connections do; gives those that read a growing table from end to end.
async fn plan_all(connection: &mut PgConnection) -> Vec<String> {
    for (name, value) in PLANNING {
        execute(connection, &format!("SET {name} TO {value}")).await;
    }
    let statements = statements();
    assert!(statements.len() > 30, "the offline query data is missing");
    let mut bad = Vec::new();
    for (number, (statement, parameters)) in statements.iter().enumerate() {
        let nulls = vec!["NULL"; *parameters].join(", ");
        let arguments = if nulls.is_empty() {
            nulls
        } else {
            format!("({nulls})")
        };
        execute(connection, &format!("PREPARE s{number} AS {statement}")).await;
        let plan = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE s{number}{arguments}")))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let shown = format!("{statement}\n    {}\n", plan.join("\n    "));
        println!("{shown}");
        if plan.iter().any(|line| reads_a_growing_table(line)) {
            bad.push(shown);
        }
    }
    bad
}
