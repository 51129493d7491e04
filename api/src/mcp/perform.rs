//! One call of a tool, in a transaction of its own.

use errand_shared::Uuid;
use errand_task_tools::{ToolOutcome, ToolSpec};
use serde_json::{Map, Value};
use sqlx::Connection as _;

use crate::{
    http::{error::ApiError, request_id},
    state::{App, within},
};

/// Why there is no outcome.
enum Fault {
    /// Nothing was changed.
    Before(ApiError),
    /// Whether something was changed is unknown.
    InCommit(ApiError),
}

/// Calls a tool for a user and commits what it did. A fault of Postgres is an outcome too, which tells nothing of it but
/// whether the call can have taken effect.
pub(super) async fn perform(
    app: &App,
    user_id: Uuid,
    spec: &ToolSpec,
    arguments: &Map<String, Value>,
) -> ToolOutcome {
    let (fault, outcome) = match attempt(app, user_id, spec.name, arguments).await {
        Ok(outcome) => return outcome,
        Err(Fault::InCommit(fault)) if !spec.annotations.read_only => {
            (fault, errand_task_tools::outcome_unknown())
        }
        Err(Fault::Before(fault) | Fault::InCommit(fault)) => (fault, errand_task_tools::internal_error()),
    };
    let error = request_id::chain(&fault);
    tracing::error!(
        tool.name = spec.name,
        error,
        "a tool called over MCP failed in the database"
    );
    outcome
}

async fn attempt(
    app: &App,
    user_id: Uuid,
    name: &str,
    arguments: &Map<String, Value>,
) -> Result<ToolOutcome, Fault> {
    let deadline = app.database_deadline();
    let mut connection = within(deadline, app.pool.get()).await.map_err(Fault::Before)?;
    let begun = within(deadline, connection.begin()).await;
    let mut transaction = begun.map_err(Fault::Before)?;
    let called = errand_task_tools::call(&mut transaction, user_id, name, arguments);
    let outcome = within(deadline, called).await.map_err(Fault::Before)?;
    let ended = if outcome.success {
        within(deadline, transaction.commit()).await
    } else {
        within(deadline, transaction.rollback()).await
    };
    match ended {
        Ok(()) => connection.release(),
        Err(fault @ ApiError::DatabaseAway { .. }) if outcome.success => return Err(Fault::InCommit(fault)),
        // Postgres has refused the commit, and so undone it.
        Err(fault) if outcome.success => return Err(Fault::Before(fault)),
        // It had failed already; only the connection is not to be used again.
        Err(_) => drop(connection),
    }
    Ok(outcome)
}
