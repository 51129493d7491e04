//! What the tables themselves refuse, whatever a program does.

use errand_testkit::Database;
use sqlx::{AssertSqlSafe, PgPool};

/// The columns that a run's state decides about, with a value each.
const FIELDS: [(&str, &str); 6] = [
    ("lease_token", "gen_random_uuid()"),
    ("worker_id", "gen_random_uuid()"),
    ("deadline_at", "now()"),
    ("finished_at", "now()"),
    ("final_event_seq", "1"),
    ("failure_reason", "'why'"),
];

/// As the table of `docs/run-states.md` has it: of each field in the order of [`FIELDS`] whether it must be there; none if both
/// will do.
fn asked(state: &str) -> Option<[Option<bool>; 6]> {
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

/// Whether Postgres takes the row.
async fn takes(pool: &PgPool, table: &str, row: &[(&str, String)]) -> bool {
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

/// A table with the checks of another, and nothing else that could be in a row's way.
async fn like(database: &Database, table: &str) {
    database
        .execute(&format!(
            "CREATE TABLE probe (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        ))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_run_has_the_fields_of_its_state_and_no_others() {
    let database = Database::new().await;
    like(&database, "runs").await;
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
            let expected = asked(state).is_some_and(|asked| {
                let mut fields = asked.into_iter().enumerate();
                fields.all(|(field, asked)| asked.is_none_or(|asked| asked == is_set(field)))
            });
            assert_eq!(takes(&database.pool, "probe", &row).await, expected, "{row:?}");
        }
    }
}

#[tokio::test]
async fn a_message_stands_in_a_slot_of_its_role() {
    let database = Database::new().await;
    like(&database, "messages").await;
    for role in ["user", "assistant", "tool", "system"] {
        for slot in [-1, 0, 1, 32766, 32767] {
            for (seq, call) in [(0, "'call'"), (1, "'call'"), (1, "NULL")] {
                let right = match role {
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
                    takes(&database.pool, "probe", &row).await,
                    right && seq > 0,
                    "{row:?}"
                );
            }
        }
    }
}
