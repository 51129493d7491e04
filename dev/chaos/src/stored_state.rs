//! The stored state, read after all runs have finished.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use crate::{Result, stack::Stack};

/// A run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: Uuid,
    pub(crate) user: Uuid,
    pub(crate) conversation: Uuid,
    pub(crate) seq: i64,
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    /// The user messages: sequence number and text.
    pub(crate) requests: Vec<(i64, String)>,
    /// The replies: sequence number, text and tool calls.
    pub(crate) replies: Vec<(i64, String, Value)>,
}

/// Everything that the comparison needs.
#[derive(Debug)]
pub(crate) struct StoredState {
    pub(crate) runs: HashMap<Uuid, Run>,
    /// For each title, the users of the tasks with this title.
    pub(crate) tasks: HashMap<String, Vec<Uuid>>,
    /// For each title, the runs of the successful `add_task` calls with this title.
    pub(crate) added: HashMap<String, Vec<Uuid>>,
    /// Steps and finishes that were written without the lease.
    pub(crate) writes_without_lease: Vec<String>,
    /// Pairs of runs of one conversation that ran at the same time.
    pub(crate) parallel_runs: Vec<String>,
    /// Idempotency keys with several runs.
    pub(crate) shared_keys: Vec<String>,
    /// How many runs with tool calls had more attempts than without faults.
    pub(crate) extra_attempts: usize,
    /// How many tool calls were approved and succeeded.
    pub(crate) approved_calls: usize,
}

/// Steps of an earlier attempt that were written after the claim of the last one, and succeeded runs whose last step is
/// not of the last attempt.
const WRITES_WITHOUT_LEASE: &str = "
    SELECT format('run %s, step %s of attempt %s after the claim of attempt %s', r.id, s.step, s.attempt, r.attempt)
    FROM steps s JOIN runs r ON r.id = s.run_id WHERE s.attempt < r.attempt AND s.created_at > r.claimed_at
    UNION ALL
    SELECT format('run %s, ended by attempt %s, not by attempt %s', r.id, max(s.attempt), r.attempt)
    FROM steps s JOIN runs r ON r.id = s.run_id WHERE r.status = 'succeeded'
    GROUP BY r.id HAVING max(s.attempt) <> r.attempt";

const PARALLEL_RUNS: &str = "
    SELECT format('runs %s and %s', id, next) FROM (
        SELECT id, finished_at, lead(id) OVER w AS next, lead(first_claimed_at) OVER w AS next_claimed
        FROM runs WINDOW w AS (PARTITION BY conversation_id ORDER BY seq)) r
    WHERE next_claimed < finished_at";

const SHARED_KEYS: &str = "SELECT format('key %s of %s', key, user_id) FROM idempotency_keys GROUP BY user_id, key HAVING count(*) > 1";

/// A run that waits for approval is claimed again after each decision.
const EXTRA_ATTEMPTS: &str = "
    SELECT id::text FROM runs WHERE EXISTS (SELECT FROM tool_calls WHERE run_id = runs.id)
      AND attempt > 1 + (SELECT count(DISTINCT step) FROM asked_calls WHERE run_id = runs.id)";

const APPROVED_CALLS: &str = "
    SELECT run_id::text FROM tool_calls JOIN asked_calls USING (run_id, step, call_index) WHERE approved AND success";

impl StoredState {
    pub(crate) async fn read(stack: &Stack) -> Result<Self> {
        let mut runs = HashMap::new();
        for row in stack
            .rows("SELECT id, user_id, conversation_id, seq, status, failure_reason FROM runs")
            .await?
        {
            let id = row.try_get("id")?;
            let run = Run {
                id,
                user: row.try_get("user_id")?,
                conversation: row.try_get("conversation_id")?,
                seq: row.try_get("seq")?,
                status: row.try_get("status")?,
                reason: row.try_get("failure_reason")?,
                requests: Vec::new(),
                replies: Vec::new(),
            };
            runs.insert(id, run);
        }
        let messages =
            "SELECT run_id, seq, role, content, tool_calls FROM messages WHERE role <> 'tool' ORDER BY seq";
        for row in stack.rows(messages).await? {
            let Some(run) = runs.get_mut(&row.try_get::<Uuid, _>("run_id")?) else {
                continue;
            };
            let (seq, content) = (row.try_get("seq")?, row.try_get("content")?);
            if row.try_get::<String, _>("role")? == "user" {
                run.requests.push((seq, content));
            } else {
                let calls: Option<Value> = row.try_get("tool_calls")?;
                run.replies.push((seq, content, calls.unwrap_or_default()));
            }
        }
        let mut tasks: HashMap<String, Vec<Uuid>> = HashMap::new();
        for row in stack.rows("SELECT user_id, title FROM tasks").await? {
            tasks
                .entry(row.try_get("title")?)
                .or_default()
                .push(row.try_get("user_id")?);
        }
        let mut added: HashMap<String, Vec<Uuid>> = HashMap::new();
        let calls = "SELECT run_id, arguments->>'title' AS title FROM tool_calls WHERE tool_name = 'add_task' AND success";
        for row in stack.rows(calls).await? {
            added
                .entry(row.try_get("title")?)
                .or_default()
                .push(row.try_get("run_id")?);
        }
        Ok(Self {
            runs,
            tasks,
            added,
            writes_without_lease: texts(stack, WRITES_WITHOUT_LEASE).await?,
            parallel_runs: texts(stack, PARALLEL_RUNS).await?,
            shared_keys: texts(stack, SHARED_KEYS).await?,
            extra_attempts: texts(stack, EXTRA_ATTEMPTS).await?.len(),
            approved_calls: texts(stack, APPROVED_CALLS).await?.len(),
        })
    }
}

async fn texts(stack: &Stack, sql: &str) -> Result<Vec<String>> {
    let rows = stack.rows(sql).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
