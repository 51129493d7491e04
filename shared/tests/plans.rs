//! Every statement is executed by index: none scans a table that grows.
//!
//! The statements come from the offline query data, so none is forgotten. The snapshot beside this file lists the indexes that
//! each statement uses. `ERRAND_PLAN_MESSAGES=1000000` fills the tables with that many messages instead of the default; with
//! `--nocapture` the complete plans are printed. The checks of `errand-api verify` are exempt: they read whole tables, and
//! a mark at their beginning says so.

#![cfg(test)]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use errand_shared::storage::PLANNING;
use errand_testkit::{Database, variable};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// Tables that grow with use. The number of workers and schema generations stays small.
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

/// Fills the tables: 5 conversations per user, 40 messages per conversation, and an open run in every twelfth conversation.
fn fill(messages: i64) -> [String; 16] {
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
        // Without running and waiting runs, the planner would choose at random among the empty partial indexes on them.
        "UPDATE runs SET status = 'running', lease_token = gen_random_uuid(), worker_id = gen_random_uuid(), \
         deadline_at = now(), claimed_at = now() WHERE status = 'queued' AND hashtext(id::text) & 3 = 0"
            .to_owned(),
        "UPDATE runs SET status = 'waiting_approval', parked_until = now() \
         WHERE status = 'queued' AND hashtext(id::text) & 3 = 1"
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

/// The mark of statements that read whole tables on purpose.
const READS_EVERYTHING: &str = "/* verify */";

/// A checked statement.
struct Statement {
    /// Its `.sql` file, or its module and function.
    name: String,
    sql: String,
    parameters: usize,
}

/// Every checked statement of the workspace, sorted by name, without those that read everything on purpose.
fn statements() -> Vec<Statement> {
    let sources = sources();
    let offline_data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.sqlx");
    let mut statements: Vec<_> = fs::read_dir(offline_data)
        .unwrap()
        .map(|entry| {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let data: serde_json::Value = serde_json::from_str(&text).unwrap();
            let sql = data["query"].as_str().unwrap().to_owned();
            Statement {
                name: name_of(&sql, &sources),
                parameters: data["describe"]["parameters"]["Left"]
                    .as_array()
                    .map_or(0, Vec::len),
                sql,
            }
        })
        .filter(|statement| !statement.sql.trim_start().starts_with(READS_EVERYTHING))
        .collect();
    statements.sort_by(|one, other| (&one.name, &one.sql).cmp(&(&other.name, &other.sql)));
    statements
}

/// The files of `storage`, with their contents.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    sources
}

/// Finds a statement in the sources. Fails for a statement that is no longer there: then `.sqlx` is outdated.
fn name_of(sql: &str, sources: &[(PathBuf, String)]) -> String {
    let found = sources
        .iter()
        .find_map(|(path, text)| text.split_once(sql).map(|(before, _)| (path, before)));
    let (path, before) = found.unwrap_or_else(|| panic!("no source has this statement: {sql}"));
    let file = path.display().to_string();
    match before.rsplit_once("fn ") {
        Some((_, rest)) => format!("{file} {}", rest.split(['(', '<']).next().unwrap_or_default()),
        None => file,
    }
}

fn scans_a_growing_table(line: &str) -> bool {
    line.split_once("Seq Scan on ")
        .is_some_and(|(_, rest)| GROWING.contains(&rest.split(' ').next().unwrap_or_default()))
}

/// The index that a line of a plan uses, or the table that it scans.
fn access(line: &str) -> Option<String> {
    let first_word = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    if line.contains(" Scan ")
        && let Some((_, rest)) = line.split_once(" using ")
    {
        return Some(first_word(rest));
    }
    let (_, rest) = line.split_once("Seq Scan on ")?;
    Some(format!("all of {}", first_word(rest)))
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
    let plans = plan_all(&mut connection).await;
    assert_no_scans(&plans);
    let mut indexes = String::new();
    for (name, plan) in &plans {
        let used: BTreeSet<_> = plan.iter().filter_map(|line| access(line)).collect();
        let used: Vec<_> = used.into_iter().collect();
        let used = if used.is_empty() {
            "none".to_owned()
        } else {
            used.join(", ")
        };
        writeln!(indexes, "{name}: {used}").unwrap();
    }
    insta::assert_snapshot!("indexes", indexes);
    connection.close().await.unwrap();
}

/// Connections keep plans that were made while the tables were empty.
#[tokio::test]
async fn no_statement_planned_in_an_empty_database_scans_a_growing_table() {
    let database = Database::new().await;
    let mut connection = PgConnection::connect_with(database.options()).await.unwrap();
    let plans = plan_all(&mut connection).await;
    assert_no_scans(&plans);
    connection.close().await.unwrap();
}

fn assert_no_scans(plans: &[(String, Vec<String>)]) {
    let bad: Vec<_> = plans
        .iter()
        .filter(|(_, plan)| plan.iter().any(|line| scans_a_growing_table(line)))
        .map(|(name, plan)| format!("{name}\n    {}\n", plan.join("\n    ")))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Plans all statements with the settings of the programs' connections. Returns each statement's name and plan.
async fn plan_all(connection: &mut PgConnection) -> Vec<(String, Vec<String>)> {
    for (name, value) in PLANNING {
        execute(connection, &format!("SET {name} TO {value}")).await;
    }
    let statements = statements();
    assert!(statements.len() > 30, "the offline query data is missing");
    let mut plans = Vec::new();
    for (number, statement) in statements.into_iter().enumerate() {
        let nulls = vec!["NULL"; statement.parameters].join(", ");
        let arguments = if nulls.is_empty() {
            nulls
        } else {
            format!("({nulls})")
        };
        execute(connection, &format!("PREPARE s{number} AS {}", statement.sql)).await;
        let plan = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE s{number}{arguments}")))
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        println!("{}\n    {}\n", statement.name, plan.join("\n    "));
        plans.push((statement.name, plan));
    }
    plans
}
