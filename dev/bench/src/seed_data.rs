//! Fills the database before a measurement. Postgres generates the rows, because chats would take hours.
//!
//! Each run has three messages, like a chat with one tool call. Foreign keys are satisfied, but not checked.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{Result, stack::Stack};

/// The size of full tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeedSize {
    pub(crate) messages: u64,
    pub(crate) tasks: u64,
}

impl SeedSize {
    /// This share of 10,000,000 messages and 1,000,000 tasks.
    pub(crate) fn scaled(scale: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the scale is between 0 and 1"
        )]
        let of = |whole: f64| (whole * scale) as u64;
        Self {
            messages: of(10e6),
            tasks: of(1e6),
        }
    }
}

/// The number of users who own the rows.
const USERS: u64 = 1000;
/// Runs of each conversation.
const RUNS: u64 = 100;
/// Messages of each run.
const MESSAGES: u64 = 3;

/// Fills the tables with rows of other users. Then vacuums, analyzes and flushes them, which Postgres would otherwise do
/// during the measurement.
pub(crate) async fn tables(stack: &Stack, size: SeedSize) -> Result<()> {
    let runs = size.messages / MESSAGES;
    let conversations = runs / RUNS;
    let tasks = size.tasks / USERS;
    execute(
        stack,
        &[
            format!(
                "INSERT INTO users (id, email, name) SELECT {}, n || '@ballast.example', 'Ballast' \
                 FROM generate_series(1, {USERS}) n",
                id(1, "n")
            ),
            format!(
                "INSERT INTO task_counters SELECT {}, {tasks} FROM generate_series(1, {USERS}) n",
                id(1, "n")
            ),
            format!(
                "INSERT INTO tasks (user_id, number, title) SELECT {}, t, 'ballast ' || t \
                 FROM generate_series(1, {USERS}) n, generate_series(1, {tasks}) t",
                id(1, "n")
            ),
            format!(
                "INSERT INTO conversations (id, user_id, title, last_seq) SELECT {}, {}, 'Ballast', {} \
                 FROM generate_series(1, {conversations}) c",
                id(2, "c"),
                id(1, &format!("c % {USERS} + 1")),
                RUNS * MESSAGES
            ),
            past_runs(
                &format!("generate_series(1, {conversations}) c"),
                &id(2, "c"),
                &id(1, &format!("c % {USERS} + 1")),
                RUNS,
                3,
            ),
            past_messages(3),
            "VACUUM (ANALYZE)".to_owned(),
            "CHECKPOINT".to_owned(),
        ],
    )
    .await
}

/// Creates a conversation of `messages` messages for each user. Returns the conversations' ids in the order of the users.
pub(crate) async fn conversations(stack: &Stack, user_ids: &[&str], messages: u32) -> Result<Vec<String>> {
    let runs = u64::from(messages) / MESSAGES;
    let ids: Vec<_> = (1..=user_ids.len())
        .map(|number| format!("00000004-0000-7000-8000-{number:012x}"))
        .collect();
    let users = format!(
        "unnest('{{{}}}'::uuid[]) WITH ORDINALITY AS u (id, c)",
        user_ids.join(",")
    );
    execute(
        stack,
        &[
            format!(
                "INSERT INTO conversations (id, user_id, title, last_seq) SELECT {}, u.id, 'Long', {} FROM {users}",
                id(4, "u.c"),
                runs * MESSAGES
            ),
            past_runs(&users, &id(4, "u.c"), "u.id", runs, 5),
            past_messages(5),
            "VACUUM (ANALYZE)".to_owned(),
            "CHECKPOINT".to_owned(),
        ],
    )
    .await?;
    Ok(ids)
}

/// The SQL of an id, from a kind and a number.
fn id(kind: u8, number: &str) -> String {
    format!("('0000000{kind}-0000-7000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid")
}

/// Inserts `runs` succeeded runs for each row of `conversations`.
fn past_runs(conversations: &str, conversation_id: &str, user_id: &str, runs: u64, kind: u8) -> String {
    format!(
        "INSERT INTO runs (id, conversation_id, user_id, seq, status, attempt, finished_at, final_event_seq, worker_id) \
         SELECT {}, {conversation_id}, {user_id}, (r - 1) * {MESSAGES} + 1, 'succeeded', 1, now(), 1, {user_id} \
         FROM {conversations}, generate_series(1, {runs}) r",
        id(kind, &format!("(c - 1) * {runs} + r")),
    )
}

/// Inserts the messages of the runs of a kind.
fn past_messages(kind: u8) -> String {
    format!(
        "INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls, tool_call_id, name) \
         SELECT gen_random_uuid(), r.conversation_id, r.seq + n, r.id, (ARRAY[0, 1, 32767])[n + 1], \
            (ARRAY['user', 'tool', 'assistant'])[n + 1], 'a message of the length that many messages have', \
            CASE n WHEN 2 THEN '[]'::jsonb END, CASE n WHEN 1 THEN 'call_1' END, CASE n WHEN 1 THEN 'add_task' END \
         FROM runs r, generate_series(0, 2) n WHERE r.id >= {} AND r.id < {}",
        id(kind, "0"),
        id(kind + 1, "0"),
    )
}

async fn execute(stack: &Stack, statements: &[String]) -> Result<()> {
    let mut connection = PgConnection::connect(&stack.database_url).await?;
    for setting in ["session_replication_role TO replica", "synchronous_commit TO off"] {
        sqlx::raw_sql(AssertSqlSafe(format!("SET {setting}")))
            .execute(&mut connection)
            .await?;
    }
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}
