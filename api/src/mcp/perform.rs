//! Calls a tool in its own transaction.

use errand_shared::Uuid;
use errand_task_tools::{ToolOutcome, ToolSpec};
use serde_json::{Map, Value};
use sqlx::Connection as _;

use crate::http::{
    database::{Database, run_until},
    error::ApiError,
    request_id,
};

/// A database error during a call.
enum CallError {
    /// The call had no effect.
    BeforeCommit(ApiError),
    /// Whether the call had an effect is unknown.
    InCommit(ApiError),
}

/// Calls a tool for a user and commits its changes. A database error is also an outcome: it only says whether the call may have
/// had an effect.
pub(super) async fn call_tool(
    database: &Database,
    user_id: Uuid,
    spec: &ToolSpec,
    arguments: &Map<String, Value>,
) -> ToolOutcome {
    let (error, outcome) = match attempt(database, user_id, spec.name, arguments).await {
        Ok(outcome) => return outcome,
        Err(CallError::InCommit(error)) if !spec.annotations.read_only => {
            (error, errand_task_tools::outcome_unknown())
        }
        Err(CallError::BeforeCommit(error) | CallError::InCommit(error)) => {
            (error, errand_task_tools::internal_error())
        }
    };
    let error = request_id::chain(&error);
    tracing::error!(tool.name = spec.name, error, "database error in an MCP tool call");
    outcome
}

async fn attempt(
    database: &Database,
    user_id: Uuid,
    name: &str,
    arguments: &Map<String, Value>,
) -> Result<ToolOutcome, CallError> {
    let deadline = database.deadline();
    let mut connection = run_until(deadline, database.pool.get())
        .await
        .map_err(CallError::BeforeCommit)?;
    let started = run_until(deadline, connection.begin()).await;
    let mut transaction = started.map_err(CallError::BeforeCommit)?;
    let called = errand_task_tools::call(&mut transaction, user_id, name, arguments);
    let outcome = run_until(deadline, called)
        .await
        .map_err(CallError::BeforeCommit)?;
    let ended = if outcome.success {
        run_until(deadline, transaction.commit()).await
    } else {
        run_until(deadline, transaction.rollback()).await
    };
    match ended {
        Ok(()) => connection.release(),
        Err(error @ ApiError::DatabaseUnavailable { .. }) if outcome.success => {
            return Err(CallError::InCommit(error));
        }
        // Postgres rejected the commit and rolled back.
        Err(error) if outcome.success => return Err(CallError::BeforeCommit(error)),
        // The tool failed and the rollback did too. The connection must not be reused.
        Err(_) => drop(connection),
    }
    Ok(outcome)
}
