//! Calls of MCP tools, for a step that is already recorded. Each call is marked as started, made, and its result recorded; each of these
//! writes is a commit of its own, under the lease.
//!
//! An effect on another system can't share our transaction. A call that was started and has no result is therefore made again only if
//! repeating it is safe. For any other call the model receives the result "unknown".

use std::sync::Arc;

use errand_agent::PlannedCall;
use errand_mcp_client::{Outcome, Server};
use errand_shared::{
    service::failpoints::{self, Failpoint},
    storage::journal::{
        pending_calls::{self, CallResult},
        steps::{RecordOutcome, RecordedCall},
    },
};
use errand_task_tools::ToolOutcome;
use futures::{Stream, StreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{Instrument, field::Empty};

use super::{
    failure::RunFailure,
    pending_calls::{RecordedStep, call_index},
    step_transaction,
};

/// The maximum number of calls of one step that are made at the same time.
const CONCURRENT_CALLS: usize = 8;

/// A call of an MCP tool.
#[derive(Clone, Debug)]
pub(crate) struct McpCall<'a> {
    pub(crate) call: &'a PlannedCall,
    /// The server that has the tool.
    pub(crate) server: Arc<Server>,
}

/// Makes the calls concurrently. Yields each with its result once that is committed, in the order in which they finish. If the stream is
/// dropped, the calls in progress stay marked as started.
///
/// # Errors
/// [`RunFailure::LeaseLost`] and [`RunFailure::Cancelled`], which are detected under the run's lock; a database error.
pub(crate) fn perform<'a>(
    at: RecordedStep<'a>,
    calls: Vec<McpCall<'a>>,
) -> impl Stream<Item = Result<RecordedCall, RunFailure>> + 'a {
    stream::iter(calls)
        .map(move |mcp_call| {
            let traced = errand_shared::trace!(
                "tool",
                otel.name = %format_args!("tool {}", mcp_call.call.name),
                otel.status_code = Empty,
            );
            let span = traced.clone();
            async move {
                let record = record_call(at, mcp_call).await?;
                if !record.success {
                    span.record("otel.status_code", "ERROR");
                }
                Ok(record)
            }
            .instrument(traced)
        })
        .buffer_unordered(CONCURRENT_CALLS)
}

/// Makes a call and records its result.
async fn record_call(at: RecordedStep<'_>, mcp_call: McpCall<'_>) -> Result<RecordedCall, RunFailure> {
    let McpCall { call, server } = mcp_call;
    let started = Instant::now();
    let outcome = match (at.pending.denied(call), &call.arguments) {
        (Some(denied), _) => denied,
        (None, Ok(arguments)) => call_once(at, call, arguments, &server).await?,
        (None, Err(_)) => errand_task_tools::internal_error(),
    };
    let record = step_transaction::call_record(call, outcome);
    let result = CallResult {
        index: call_index(call),
        result: record.result.clone(),
        success: record.success,
    };
    let took = i32::try_from(started.elapsed().as_millis()).unwrap_or(i32::MAX);
    let RecordedStep { lease, step, .. } = at;
    let mut connection = at.pool.get().await?;
    // A single statement that commits by itself, flushed to disk: the call can't be repeated to learn its result again.
    let recorded =
        pending_calls::record_results(&mut connection, lease.run_id, lease.token, step, &[result], took)
            .await?;
    connection.release();
    match recorded {
        RecordOutcome::LeaseLost => Err(RunFailure::LeaseLost),
        RecordOutcome::Written {
            cancel_requested: true,
        } => Err(RunFailure::Cancelled),
        RecordOutcome::Written {
            cancel_requested: false,
        } => Ok(record),
    }
}

/// Makes a call unless it may have been made before, or the run is cancelled.
async fn call_once(
    at: RecordedStep<'_>,
    call: &PlannedCall,
    arguments: &Map<String, Value>,
    server: &Arc<Server>,
) -> Result<ToolOutcome, RunFailure> {
    let RecordedStep { lease, step, .. } = at;
    let was_started = at.pending.was_started(call);
    let ready = match server.prepare(&call.name, arguments).await {
        Ok(ready) if was_started && !ready.is_repeatable() => {
            return Ok(tool_outcome(Outcome::unknown_after_crash()));
        }
        Ok(ready) => ready,
        // The call can't be made now, but it may have been made before.
        Err(_) if was_started => return Ok(tool_outcome(Outcome::unknown_after_crash())),
        Err(outcome) => return Ok(tool_outcome(outcome)),
    };
    let cancel_requested =
        pending_calls::mark_started(at.pool, lease.run_id, lease.token, step, call_index(call)).await?;
    match cancel_requested {
        None => return Err(RunFailure::LeaseLost),
        Some(true) if !was_started => return Ok(tool_outcome(Outcome::not_started())),
        Some(_) => {}
    }
    failpoints::hit(Failpoint::McpCallStarted);
    let key = pending_calls::idempotency_key(lease.run_id, step, call_index(call));
    let outcome = ready.make(&key, at.deadline).await;
    failpoints::hit(Failpoint::McpCallAnswered);
    Ok(tool_outcome(outcome))
}

fn tool_outcome(outcome: Outcome) -> ToolOutcome {
    ToolOutcome {
        success: outcome.success,
        result: outcome.result,
    }
}
