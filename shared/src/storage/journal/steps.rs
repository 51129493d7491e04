//! Steps: a model call and its tool calls are recorded in the transaction that contains the tools' effects, under the lease.

use std::collections::HashMap;

use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgExecutor, Postgres, Transaction};
use uuid::Uuid;

use crate::domain::chat::{ToolCallView, Usage};

/// A model call to record.
#[derive(Clone, Debug)]
pub struct StepRecord {
    /// Its number within the run, from 0.
    pub step: i16,
    /// The attempt that made it.
    pub attempt: i32,
    /// The model that answered.
    pub model: String,
    /// The text that the model returned with its tool calls.
    pub content: String,
    /// The tokens that it used.
    pub usage: Usage,
    /// Duration of the model call in milliseconds.
    pub model_ms: i32,
    /// Duration of the tool calls in milliseconds.
    pub tools_ms: i32,
    /// What the provider may require back with the tool calls.
    pub provider_data: Option<serde_json::Value>,
}

/// A tool call with its result, as the journal stores it.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordedCall {
    /// The model's id of the call.
    pub tool_call_id: String,
    /// The name of the tool.
    pub tool_name: String,
    /// The arguments without `user_id`.
    pub arguments: serde_json::Value,
    /// What the tool returned.
    pub result: serde_json::Value,
    /// Whether the call succeeded.
    pub success: bool,
}

/// The lease that fences a step, and the user whose tasks the step may change.
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    /// The run.
    pub run_id: Uuid,
    /// The lease.
    pub token: Uuid,
    /// The user who owns the run.
    pub user_id: Uuid,
}

/// A step to record.
#[derive(Clone, Copy, Debug)]
pub struct StepEntry<'a> {
    /// The run.
    pub run_id: Uuid,
    /// The lease.
    pub token: Uuid,
    /// The model call.
    pub step: &'a StepRecord,
    /// The tool calls.
    pub calls: &'a [RecordedCall],
}

/// [`begin_all`] for one step.
///
/// # Errors
/// A database error.
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

/// Begins the transaction of a step that takes its locks later: the user's task counter when a tool writes, the run's row with
/// [`record`], which reports whether the lease is still valid. The commit does not wait for the disk, as with [`begin_all`].
///
/// # Errors
/// A database error.
pub async fn begin_unlocked(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    connection
        .begin_with("BEGIN; SET LOCAL synchronous_commit TO off")
        .await
}

/// Begins the transaction of steps of several runs. Locks the rows of the runs whose lease is valid, then the task counters of
/// their users, so that steps of one user that change several tasks cannot deadlock. [`record_all`] reports which leases are
/// valid.
///
/// The commit does not wait for the disk. The run's finish flushes everything before it; if a crash of Postgres loses a step,
/// its effects are lost with it and the model is called again.
///
/// # Errors
/// A database error.
pub async fn begin_all<'c>(
    connection: &'c mut PgConnection,
    fences: &[Fence],
) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
    let array = |id: fn(&Fence) -> Uuid| {
        let ids: Vec<_> = fences.iter().map(|fence| id(fence).to_string()).collect();
        format!("'{{{}}}'::uuid[]", ids.join(","))
    };
    // One round trip instead of four. The simple protocol accepts several statements but no parameters; the text contains
    // nothing but UUIDs. A token belongs to one run only, so the two lists need not be compared in pairs.
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

/// The outcome of recording a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// Recorded, once the transaction commits.
    Written {
        /// Whether the run's user requested a cancellation.
        cancel_requested: bool,
    },
    /// The lease is lost, or a crash of Postgres lost the previous step: roll back, and publish nothing.
    LeaseLost,
}

/// [`record_all`] for one step.
///
/// # Errors
/// A database error.
pub async fn record(
    connection: &mut PgConnection,
    run_id: Uuid,
    token: Uuid,
    step: &StepRecord,
    calls: &[RecordedCall],
) -> Result<RecordOutcome, sqlx::Error> {
    let entry = StepEntry {
        run_id,
        token,
        step,
        calls,
    };
    let recorded = record_all(connection, &[entry]).await?;
    Ok(recorded.into_iter().next().unwrap_or(RecordOutcome::LeaseLost))
}

/// Records steps of several runs in the transaction that contains their effects. Returns one outcome per step, in the order
/// given. If one lease is lost, roll back: the other steps are recorded, but the transaction contains the effects of all.
///
/// # Errors
/// A database error.
pub async fn record_all(
    connection: &mut PgConnection,
    entries: &[StepEntry<'_>],
) -> Result<Vec<RecordOutcome>, sqlx::Error> {
    let columns = Columns::of(entries);
    let held = sqlx::query_file!(
        "src/storage/journal/record_steps.sql",
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
        &columns.usage_estimated,
        &columns.provider_data as &[Option<&serde_json::Value>],
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

/// The parameters of the statement, one array per column.
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
    usage_estimated: Vec<bool>,
    provider_data: Vec<Option<&'a serde_json::Value>>,
    call_tokens: Vec<Uuid>,
    call_indexes: Vec<i16>,
    call_ids: Vec<&'a str>,
    tool_names: Vec<&'a str>,
    arguments: Vec<&'a serde_json::Value>,
    results: Vec<&'a serde_json::Value>,
    successes: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(entries: &[StepEntry<'a>]) -> Self {
        let mut columns = Self::default();
        for entry in entries {
            columns.push(*entry);
        }
        columns
    }

    fn push(&mut self, entry: StepEntry<'a>) {
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
        self.usage_estimated.push(entry.step.usage.is_estimated);
        self.provider_data.push(entry.step.provider_data.as_ref());
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

/// Returns the arguments of a tool call as users see them: with `user_id` first. A `user_id` from the model is replaced.
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

/// Returns the recorded tool calls of a run in order, as its user sees them.
///
/// # Errors
/// A database error.
pub async fn calls_of(
    executor: impl PgExecutor<'_>,
    run_id: Uuid,
    user_id: Uuid,
) -> Result<Vec<ToolCallView>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT tool_call_id, tool_name, arguments, result FROM tool_calls WHERE run_id = $1 ORDER BY step, call_index",
        run_id
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ToolCallView {
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
    fn user_id_comes_first_and_replaces_the_one_from_the_model() {
        let arguments = json!({"title": "milk", "user_id": "another user", "limit": 3});
        let shown = with_user_id(&arguments, Uuid::nil()).to_string();
        let expected = r#"{"user_id":"00000000-0000-0000-0000-000000000000","title":"milk","limit":3}"#;
        assert_eq!(shown, expected);
        let none = with_user_id(&serde_json::Value::Null, Uuid::nil()).to_string();
        assert_eq!(none, r#"{"user_id":"00000000-0000-0000-0000-000000000000"}"#);
    }
}
