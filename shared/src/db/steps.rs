//! The journal of a run: a step and its tool calls commit together with the tools' effects, under the lease.

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgExecutor, Postgres, Transaction};
use uuid::Uuid;

use crate::chat::{ToolCallRecord, Usage};

/// What one model call cost and said.
#[derive(Clone, Debug)]
pub struct StepRecord {
    /// Its number within the run, from 0.
    pub step: i16,
    /// The attempt that made it.
    pub attempt: i32,
    /// The model that answered.
    pub model: String,
    /// What it said beside its tool calls.
    pub content: String,
    /// What it cost.
    pub usage: Usage,
    /// How long the model took, in milliseconds.
    pub model_ms: i32,
    /// How long the tools took, in milliseconds.
    pub tools_ms: i32,
}

/// A tool call and its result, to be journalled.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The model's id of the call.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// The arguments without `user_id`.
    pub arguments: serde_json::Value,
    /// What the tool answered.
    pub result: serde_json::Value,
    /// Whether it did what it was asked for.
    pub success: bool,
}

/// Begins the transaction of a step: locks the run's row where the lease is still this one, then the user's task counter,
/// so that steps of one user that touch several tasks can't deadlock. [`record`] tells whether the lease held. The commit
/// does not wait for the disk: the run's finish flushes everything before it, and a step that a crash of
/// Postgres loses is asked of the model again, its effects lost with it.
///
/// # Errors
/// A fault of Postgres.
pub async fn begin(
    connection: &mut PgConnection,
    run_id: Uuid,
    token: Uuid,
    user_id: Uuid,
) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    // One round trip instead of four. The simple protocol takes several statements but no parameters; what is put
    // into the text is UUIDs.
    connection
        .begin_with(AssertSqlSafe(format!(
            "BEGIN; SET LOCAL synchronous_commit TO off; \
         SELECT FROM runs WHERE id = '{run_id}' AND lease_token = '{token}' AND status = 'running' \
         FOR NO KEY UPDATE; \
         SELECT FROM task_counters WHERE user_id = '{user_id}' FOR NO KEY UPDATE"
        )))
        .await
}

/// Whether a step could be journalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is, once the transaction commits.
    Written {
        /// Whether the run's user has asked for an end meanwhile.
        cancel_requested: bool,
    },
    /// The lease is gone, or a crash of Postgres has lost the step before: roll back, write and publish nothing.
    LeaseLost,
}

/// Journals a step in the transaction that holds its effects.
///
/// # Errors
/// A fault of Postgres.
pub async fn record(
    connection: &mut PgConnection,
    run_id: Uuid,
    token: Uuid,
    step: &StepRecord,
    calls: &[CallRecord],
) -> Result<Recorded, sqlx::Error> {
    let indexes: Vec<i16> = (0..).take(calls.len()).collect();
    let ids: Vec<_> = calls.iter().map(|call| call.tool_call_id.as_str()).collect();
    let names: Vec<_> = calls.iter().map(|call| call.tool_name.as_str()).collect();
    let arguments: Vec<_> = calls.iter().map(|call| call.arguments.clone()).collect();
    let results: Vec<_> = calls.iter().map(|call| call.result.clone()).collect();
    let successes: Vec<_> = calls.iter().map(|call| call.success).collect();
    let held = sqlx::query_scalar!(
        r#"
        WITH fence AS MATERIALIZED (
            SELECT id, cancel_requested_at FROM runs
            WHERE id = $1 AND lease_token = $2 AND status = 'running'
              AND ($3::int2 = 0 OR EXISTS (SELECT FROM steps b WHERE b.run_id = $1 AND b.step = $3::int2 - 1))
            FOR NO KEY UPDATE
        ), written AS (
            INSERT INTO steps (run_id, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms,
                tools_ms)
            SELECT id, $3, $4, $5, $6, $7, $8, $9, $10 FROM fence
        ), called AS (
            INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
            SELECT f.id, $3, t.* FROM fence f, unnest($11::int2[], $12::text[], $13::text[], $14::jsonb[],
                $15::jsonb[], $16::bool[]) t
        )
        SELECT cancel_requested_at IS NOT NULL AS "cancel_requested!" FROM fence
        "#,
        run_id,
        token,
        step.step,
        step.attempt,
        step.model,
        step.content,
        step.usage.prompt_tokens,
        step.usage.completion_tokens,
        step.model_ms,
        step.tools_ms,
        &indexes,
        &ids as &[&str],
        &names as &[&str],
        &arguments,
        &results,
        &successes,
    )
    .fetch_optional(connection)
    .await?;
    Ok(
        held.map_or(Recorded::LeaseLost, |cancel_requested| Recorded::Written {
            cancel_requested,
        }),
    )
}

/// The arguments of a tool call as users see them: with the server's `user_id` in front.
pub fn with_user_id(arguments: &serde_json::Value, user_id: Uuid) -> serde_json::Value {
    let mut shown = serde_json::Map::new();
    shown.insert("user_id".to_owned(), user_id.to_string().into());
    if let serde_json::Value::Object(members) = arguments {
        shown.extend(
            members
                .iter()
                .filter(|(name, _)| *name != "user_id")
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    serde_json::Value::Object(shown)
}

/// The tool calls that a run has committed, in order, as its user sees them.
///
/// # Errors
/// A fault of Postgres.
pub async fn calls_of(
    executor: impl PgExecutor<'_>,
    run_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<ToolCallRecord>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT tool_call_id, tool_name, arguments, result FROM tool_calls WHERE run_id = $1 ORDER BY step, call_index",
        run_id
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ToolCallRecord {
            arguments: with_user_id(&row.arguments, user_id),
            tool_call_id: row.tool_call_id,
            tool_name: row.tool_name,
            result: row.result,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_users_id_stands_first_and_in_place_of_the_models() {
        let arguments = json!({"title": "milk", "user_id": "somebody else", "limit": 3});
        let shown = with_user_id(&arguments, Uuid::nil()).to_string();
        let expected = r#"{"user_id":"00000000-0000-0000-0000-000000000000","title":"milk","limit":3}"#;
        assert_eq!(shown, expected);
        let none = with_user_id(&serde_json::Value::Null, Uuid::nil()).to_string();
        assert_eq!(none, r#"{"user_id":"00000000-0000-0000-0000-000000000000"}"#);
    }
}
