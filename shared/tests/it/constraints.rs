//! Rows that the constraints of the tables reject.

use errand_testkit::Database;
use sqlx::{AssertSqlSafe, PgPool};

/// The columns whose presence depends on the run's status, each with a value.
const FIELDS: [(&str, &str); 6] = [
    ("lease_token", "gen_random_uuid()"),
    ("worker_id", "gen_random_uuid()"),
    ("deadline_at", "now()"),
    ("finished_at", "now()"),
    ("final_event_seq", "1"),
    ("failure_reason", "'why'"),
];

/// The table of `docs/RUN_STATES.md`: for each of [`FIELDS`], whether it must be present or absent. None if both are valid.
fn required(state: &str) -> Option<[Option<bool>; 6]> {
    const SET: Option<bool> = Some(true);
    const NULL: Option<bool> = Some(false);
    match state {
        "queued" | "waiting_approval" => Some([NULL, NULL, None, NULL, None, None]),
        "running" => Some([SET, SET, SET, NULL, None, None]),
        "succeeded" | "cancelled" => Some([NULL, None, None, SET, SET, None]),
        "failed" => Some([NULL, None, None, SET, SET, SET]),
        _ => None,
    }
}

/// Whether Postgres accepts the row.
async fn accepts(pool: &PgPool, table: &str, row: &[(&str, String)]) -> bool {
    let (names, values): (Vec<_>, Vec<_>) = row.iter().map(|(name, value)| (*name, value.as_str())).unzip();
    let insert = format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        names.join(", "),
        values.join(", ")
    );
    match sqlx::raw_sql(AssertSqlSafe(insert)).execute(pool).await {
        Ok(_) => true,
        Err(sqlx::Error::Database(error)) if error.is_check_violation() => false,
        Err(error) => panic!("{error}"),
    }
}

/// Creates a table with the checks of another one, but without its keys.
async fn create_probe(database: &Database, table: &str) {
    database
        .execute(&format!(
            "CREATE TABLE probe (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        ))
        .await
        .unwrap();
}

#[tokio::test]
async fn run_columns_must_match_its_status() {
    let database = Database::new().await;
    create_probe(&database, "runs").await;
    let states = [
        "queued",
        "running",
        "waiting_approval",
        "succeeded",
        "failed",
        "cancelled",
        "asleep",
    ];
    for state in states {
        for pattern in 0..1_u8 << FIELDS.len() {
            let is_set = |field: usize| pattern & 1 << field != 0;
            let id = || "gen_random_uuid()".to_owned();
            let mut row = vec![
                ("id", id()),
                ("conversation_id", id()),
                ("user_id", id()),
                ("seq", "1".to_owned()),
                ("status", format!("'{state}'")),
            ];
            let set = FIELDS.iter().enumerate().filter(|(field, _)| is_set(*field));
            row.extend(set.map(|(_, (name, value))| (*name, (*value).to_owned())));
            let expected = required(state).is_some_and(|required| {
                let mut fields = required.into_iter().enumerate();
                fields.all(|(field, required)| required.is_none_or(|required| required == is_set(field)))
            });
            assert_eq!(accepts(&database.pool, "probe", &row).await, expected, "{row:?}");
        }
    }
}

#[tokio::test]
async fn message_slot_must_match_its_role() {
    let database = Database::new().await;
    create_probe(&database, "messages").await;
    for role in ["user", "assistant", "tool", "system"] {
        for slot in [-1, 0, 1, 32766, 32767] {
            for (seq, call) in [(0, "'call'"), (1, "'call'"), (1, "NULL")] {
                let valid = match role {
                    "user" => slot == 0,
                    "assistant" => slot == 32767,
                    "tool" => (1..=32766).contains(&slot) && call != "NULL",
                    _ => false,
                };
                let row = [
                    ("id", "gen_random_uuid()".to_owned()),
                    ("conversation_id", "gen_random_uuid()".to_owned()),
                    ("run_id", "gen_random_uuid()".to_owned()),
                    ("content", "''".to_owned()),
                    ("role", format!("'{role}'")),
                    ("slot", slot.to_string()),
                    ("seq", seq.to_string()),
                    ("tool_call_id", call.to_owned()),
                ];
                assert_eq!(
                    accepts(&database.pool, "probe", &row).await,
                    valid && seq > 0,
                    "{row:?}"
                );
            }
        }
    }
}
