//! Calls of other people's tools, from a step that is in the journal already: each is marked as started, made, and its
//! result journalled, every one of these a commit of its own under the lease.
//!
//! An effect elsewhere can't share our transaction. So a call that was started and has no result is made again only if
//! that changes no more than once would; of any other the model is told that nobody knows what came of it.

use std::sync::Arc;

use errand_agent::PlannedCall;
use errand_mcp_client::{Outcome, Server};
use errand_shared::{
    service::failpoints::{self, Failpoint},
    storage::{
        Pool,
        journal::{
            pending_calls::{self, CallResult},
            steps::{RecordOutcome, RecordedCall},
        },
        queue::claims::Lease,
    },
};
use errand_task_tools::ToolOutcome;
use futures::{Stream, StreamExt, stream};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::{Instrument, field::Empty};

use super::{
    deferred_step::{Left, place},
    failure::RunFailure,
    step_transaction,
};

/// Calls of a step at once.
const AT_ONCE: usize = 8;

/// A call of somebody else's tool.
#[derive(Clone, Debug)]
pub(crate) struct ExternalCall<'a> {
    /// The call.
    pub(crate) call: &'a PlannedCall,
    /// Whose tool it is.
    pub(crate) server: Arc<Server>,
}

/// Of which step of which run calls are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) lease: &'a Lease,
    pub(crate) step: i16,
    /// What an earlier attempt has left of it.
    pub(crate) left: &'a Left<'a>,
    /// When the run's time is over.
    pub(crate) deadline: Instant,
}

/// Makes the calls, several at once, and gives each with its result once that is committed, in the order in which they end.
/// Those under way when the stream is dropped stay started.
///
/// # Errors
/// [`RunFailure::LeaseLost`] and [`RunFailure::Cancelled`] as found under the run's lock; a fault of Postgres.
pub(crate) fn perform<'a>(
    at: At<'a>,
    calls: Vec<ExternalCall<'a>>,
) -> impl Stream<Item = Result<RecordedCall, RunFailure>> + 'a {
    stream::iter(calls)
        .map(move |external| {
            let traced = errand_shared::trace!(
                "tool",
                otel.name = %format_args!("tool {}", external.call.name),
                otel.status_code = Empty,
            );
            let span = traced.clone();
            async move {
                let record = one(at, external).await?;
                if !record.success {
                    span.record("otel.status_code", "ERROR");
                }
                Ok(record)
            }
            .instrument(traced)
        })
        .buffer_unordered(AT_ONCE)
}

async fn one(at: At<'_>, external: ExternalCall<'_>) -> Result<RecordedCall, RunFailure> {
    let ExternalCall { call, server } = external;
    let began = Instant::now();
    let outcome = match (at.left.withheld(call), &call.arguments) {
        (Some(withheld), _) => withheld,
        (None, Ok(arguments)) => made(at, call, arguments, &server).await?,
        (None, Err(_)) => errand_task_tools::internal_error(),
    };
    let record = step_transaction::journalled(call, outcome);
    let answer = CallResult {
        index: place(call),
        result: record.result.clone(),
        success: record.success,
    };
    let took = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
    let At { lease, step, .. } = at;
    let mut connection = at.pool.get().await?;
    // One statement, which commits by itself and waits for the disk: the call can't be made again to find out.
    let recorded =
        pending_calls::record_results(&mut connection, lease.run_id, lease.token, step, &[answer], took)
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

/// Makes one call, or says why not.
async fn made(
    at: At<'_>,
    call: &PlannedCall,
    arguments: &Map<String, Value>,
    server: &Arc<Server>,
) -> Result<ToolOutcome, RunFailure> {
    let At { lease, step, .. } = at;
    let was_started = at.left.was_started(call);
    let ready = match server.prepare(&call.name, arguments).await {
        Ok(ready) if was_started && !ready.is_repeatable() => {
            return Ok(told(Outcome::unknown_after_crash()));
        }
        Ok(ready) => ready,
        // Whatever it is that hinders us now, the call may have been made.
        Err(_) if was_started => return Ok(told(Outcome::unknown_after_crash())),
        Err(outcome) => return Ok(told(outcome)),
    };
    let started = pending_calls::mark_started(at.pool, lease.run_id, lease.token, step, place(call)).await?;
    match started {
        None => return Err(RunFailure::LeaseLost),
        Some(true) if !was_started => return Ok(told(Outcome::not_begun())),
        Some(_) => {}
    }
    failpoints::hit(Failpoint::McpCallStarted);
    let key = pending_calls::idempotency_key(lease.run_id, step, place(call));
    let outcome = ready.make(&key, at.deadline).await;
    failpoints::hit(Failpoint::McpCallAnswered);
    Ok(told(outcome))
}

fn told(outcome: Outcome) -> ToolOutcome {
    ToolOutcome {
        success: outcome.success,
        result: outcome.result,
    }
}
