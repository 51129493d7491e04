//! The journal of a run: a step and its tool calls commit together with the tools' effects, under the lease.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgExecutor, Postgres, Transaction};
use uuid::Uuid;

use crate::domain::chat::{ToolCallRecord, Usage};

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

/// Whose step it is, and under which lease.
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    /// The run.
    pub run_id: Uuid,
    /// The lease.
    pub token: Uuid,
    /// Whose run it is.
    pub user_id: Uuid,
}

/// A step to be journalled.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The run.
    pub run_id: Uuid,
    /// The lease.
    pub token: Uuid,
    /// What the model call cost and said.
    pub step: &'a StepRecord,
    /// Its calls.
    pub calls: &'a [CallRecord],
}

/// Begins the transaction of a step; [`begin_all`] for one.
///
/// # Errors
/// A fault of Postgres.
pub async fn begin(
    connection: &mut PgConnection,
    run_id: Uuid,
    token: Uuid,
    user_id: Uuid,
) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let fence = Fence {
        run_id,
        token,
        user_id,
    };
    begin_all(connection, &[fence]).await
}

/// Begins the transaction of a step that takes its locks as it goes: the user's task counter where a tool writes, the run's row
/// with [`record`], which tells whether the lease still holds. The commit does not wait for the disk, as with [`begin_all`].
///
/// # Errors
/// A fault of Postgres.
pub async fn begin_unlocked(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    connection
        .begin_with("BEGIN; SET LOCAL synchronous_commit TO off")
        .await
}

/// Begins the transaction of steps of several runs: locks the runs' rows where the leases are still these, then the users'
/// task counters, so that steps of one user that touch several tasks can't deadlock. [`record_all`] tells which leases
/// held. The commit does not wait for the disk: a run's finish flushes everything before it, and a step that a crash of
/// Postgres loses is asked of the model again, its effects lost with it.
///
/// # Errors
/// A fault of Postgres.
pub async fn begin_all<'c>(
    connection: &'c mut PgConnection,
    fences: &[Fence],
) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
    let array = |id: fn(&Fence) -> Uuid| {
        let ids: Vec<_> = fences.iter().map(|fence| id(fence).to_string()).collect();
        format!("'{{{}}}'::uuid[]", ids.join(","))
    };
    // One round trip instead of four. The simple protocol takes several statements but no parameters; what is put
    // into the text is UUIDs. A token is in no row but its run's.
    connection
        .begin_with(AssertSqlSafe(format!(
            "BEGIN; SET LOCAL synchronous_commit TO off; \
             SELECT FROM runs WHERE id = ANY({}) AND lease_token = ANY({}) ORDER BY id FOR NO KEY UPDATE; \
             SELECT FROM task_counters WHERE user_id = ANY({}) ORDER BY user_id FOR NO KEY UPDATE",
            array(|fence| fence.run_id),
            array(|fence| fence.token),
            array(|fence| fence.user_id),
        )))
        .await
}

/// Whether a step could be journalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It is, once the transaction commits.
    Written {
        /// Whether the run's user has asked for an end meanwhile.
        cancel_requested: bool,
    },
    /// The lease is gone, or a crash of Postgres has lost the step before: roll back, write and publish nothing.
    LeaseLost,
}

/// Journals a step in the transaction that holds its effects; [`record_all`] for one.
///
/// # Errors
/// A fault of Postgres.
pub async fn record(
    connection: &mut PgConnection,
    run_id: Uuid,
    token: Uuid,
    step: &StepRecord,
    calls: &[CallRecord],
) -> Result<RecordOutcome, sqlx::Error> {
    let entry = Entry {
        run_id,
        token,
        step,
        calls,
    };
    let recorded = record_all(connection, &[entry]).await?;
    Ok(recorded.into_iter().next().unwrap_or(RecordOutcome::LeaseLost))
}

/// Journals steps of several runs in the transaction that holds their effects: one outcome each in the order given. If one
/// of the leases is lost the others are written, and the effects of all are in the transaction: roll back.
///
/// # Errors
/// A fault of Postgres.
pub async fn record_all(
    connection: &mut PgConnection,
    entries: &[Entry<'_>],
) -> Result<Vec<RecordOutcome>, sqlx::Error> {
    let columns = Columns::of(entries);
    let held = sqlx::query!(
        r#"
        WITH fence AS MATERIALIZED (
            -- No more than the token: only a running run has one, and an index of running runs must not tempt the planner.
            SELECT r.cancel_requested_at, i.*
            FROM unnest($1::uuid[], $2::uuid[], $3::int2[], $4::int4[], $5::text[], $6::text[], $7::int8[], $8::int8[],
                        $9::int4[], $10::int4[])
                AS i (run_id, token, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms, tools_ms)
            JOIN runs r ON r.id = i.run_id AND r.lease_token = i.token
            -- Not EXISTS, which may be answered by reading all steps once.
            WHERE i.step = 0 OR (SELECT true FROM steps b WHERE b.run_id = i.run_id AND b.step = i.step - 1)
            ORDER BY r.id FOR NO KEY UPDATE OF r
        ), written AS (
            INSERT INTO steps (run_id, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms,
                tools_ms)
            SELECT run_id, step, attempt, model, content, prompt_tokens, completion_tokens, model_ms, tools_ms FROM fence
        ), called AS (
            INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
            SELECT f.run_id, f.step, t.call_index, t.tool_call_id, t.tool_name, t.arguments, t.result, t.success
            FROM unnest($11::uuid[], $12::int2[], $13::text[], $14::text[], $15::jsonb[], $16::jsonb[], $17::bool[])
                AS t (token, call_index, tool_call_id, tool_name, arguments, result, success)
            JOIN fence f ON f.token = t.token
        )
        SELECT token AS "token!", cancel_requested_at IS NOT NULL AS "cancel_requested!" FROM fence
        "#,
        &columns.run_ids,
        &columns.tokens,
        &columns.steps,
        &columns.attempts,
        &columns.models as &[&str],
        &columns.contents as &[&str],
        &columns.prompt_tokens,
        &columns.completion_tokens,
        &columns.model_ms,
        &columns.tools_ms,
        &columns.call_tokens,
        &columns.call_indexes,
        &columns.call_ids as &[&str],
        &columns.tool_names as &[&str],
        &columns.arguments as &[&serde_json::Value],
        &columns.results as &[&serde_json::Value],
        &columns.successes,
    )
    .fetch_all(connection)
    .await?;
    let held: HashMap<_, _> = held
        .into_iter()
        .map(|row| (row.token, row.cancel_requested))
        .collect();
    Ok(entries
        .iter()
        .map(|entry| match held.get(&entry.token) {
            Some(&cancel_requested) => RecordOutcome::Written { cancel_requested },
            None => RecordOutcome::LeaseLost,
        })
        .collect())
}

/// The statement's arrays.
#[derive(Default)]
struct Columns<'a> {
    run_ids: Vec<Uuid>,
    tokens: Vec<Uuid>,
    steps: Vec<i16>,
    attempts: Vec<i32>,
    models: Vec<&'a str>,
    contents: Vec<&'a str>,
    prompt_tokens: Vec<i64>,
    completion_tokens: Vec<i64>,
    model_ms: Vec<i32>,
    tools_ms: Vec<i32>,
    call_tokens: Vec<Uuid>,
    call_indexes: Vec<i16>,
    call_ids: Vec<&'a str>,
    tool_names: Vec<&'a str>,
    arguments: Vec<&'a serde_json::Value>,
    results: Vec<&'a serde_json::Value>,
    successes: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(entries: &[Entry<'a>]) -> Self {
        let mut columns = Self::default();
        for entry in entries {
            columns.push(*entry);
        }
        columns
    }

    fn push(&mut self, entry: Entry<'a>) {
        self.run_ids.push(entry.run_id);
        self.tokens.push(entry.token);
        self.steps.push(entry.step.step);
        self.attempts.push(entry.step.attempt);
        self.models.push(&entry.step.model);
        self.contents.push(&entry.step.content);
        self.prompt_tokens.push(entry.step.usage.prompt_tokens);
        self.completion_tokens.push(entry.step.usage.completion_tokens);
        self.model_ms.push(entry.step.model_ms);
        self.tools_ms.push(entry.step.tools_ms);
        for (call, index) in entry.calls.iter().zip(0..) {
            self.call_tokens.push(entry.token);
            self.call_indexes.push(index);
            self.call_ids.push(&call.tool_call_id);
            self.tool_names.push(&call.tool_name);
            self.arguments.push(&call.arguments);
            self.results.push(&call.result);
            self.successes.push(call.success);
        }
    }
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
