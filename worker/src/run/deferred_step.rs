//! Deferred steps: recorded before their calls are made, because the calls need approval or run outside our database.
//!
//! [`record`] writes such a step. [`DeferredStep::run`] makes its pending calls later, possibly in another worker.

use std::{pin::pin, sync::Arc, time::Duration};

use errand_agent::PlannedCall;
use errand_shared::{
    service::failpoints::{self, Failpoint},
    storage::{
        journal::{
            pending_calls::{self, ApprovalWait, CallResult, DeferOutcome, PendingCall},
            steps::{self, RecordOutcome, RecordedCall, StepRecord},
        },
        queue::claims::Lease,
    },
};
use futures::StreamExt;
use tokio::time::Instant;

use super::{
    events::EventEmitter,
    failure::RunFailure,
    mcp_calls::{self, McpCall},
    pending_calls::{PendingCalls, RecordedStep, call_index},
    step_transaction,
};
use crate::{agents::Agent, context::Context, queue::run_registry::ActiveRun};

/// The time limit for the calls of a step, in multiples of the time limit for one statement. Most take a small part of it.
const STATEMENTS_PER_STEP: u32 = 4;

/// Records a step with its calls, none of which has been made. If a call needs approval, the run waits for it without a lease, and
/// the request is returned.
///
/// # Errors
/// [`RunFailure::Cancelled`] and [`RunFailure::LeaseLost`] if the run was cancelled or claimed by another worker: the step is not
/// recorded then. A database error.
pub(super) async fn record(
    context: &Context,
    lease: &Lease,
    step: &StepRecord,
    calls: &[PlannedCall],
    agent: &Agent,
) -> Result<Option<ApprovalWait>, RunFailure> {
    let Context { pool, settings, .. } = context;
    mutate_fence!(lease, pool);
    let pending: Vec<_> = calls.iter().map(|call| pending_call(call, agent)).collect();
    let timeout = settings.approval.approval_timeout_seconds.into();
    match pending_calls::defer_step(pool, lease.run_id, lease.token, step, &pending, timeout).await? {
        DeferOutcome::AwaitingApproval(approval) => {
            failpoints::hit(Failpoint::ApprovalRequested);
            let model_time = Duration::from_millis(u64::try_from(step.model_ms).unwrap_or_default());
            context.metrics.step_finished(model_time, &[], Duration::ZERO);
            Ok(Some(approval))
        }
        DeferOutcome::Recorded => Ok(None),
        DeferOutcome::CancelRequested => Err(RunFailure::Cancelled),
        DeferOutcome::LeaseLost => Err(RunFailure::LeaseLost),
    }
}

fn pending_call(call: &PlannedCall, agent: &Agent) -> PendingCall {
    PendingCall {
        index: call_index(call),
        tool_call_id: call.id.clone(),
        tool_name: call.name.clone(),
        arguments: call.journal_arguments(),
        refusal: call.arguments.as_ref().err().cloned(),
        needs_approval: agent.needs_approval(call),
        approved: None,
        started: false,
    }
}

/// A recorded step with pending calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeferredStep<'a> {
    number: i16,
    pub(super) calls: &'a [PlannedCall],
    agent: &'a Agent,
    pending: &'a PendingCalls<'a>,
    /// How long the model took for the step; zero if an earlier attempt has counted it.
    pub(super) model_time: Duration,
}

impl<'a> DeferredStep<'a> {
    pub(super) fn new(
        number: u16,
        calls: &'a [PlannedCall],
        agent: &'a Agent,
        pending: &'a PendingCalls<'a>,
        model_time: Duration,
    ) -> Self {
        Self {
            number: step_number(number),
            calls,
            agent,
            pending,
            model_time,
        }
    }

    /// Makes the pending calls that are not denied: those of the built-in tools in one transaction, then those of MCP tools at the same
    /// time. Publishes each result once it is committed.
    ///
    /// # Errors
    /// The interrupt of the run; [`RunFailure::LeaseLost`]; a database error. Results committed before stay.
    pub(super) async fn run(
        &self,
        context: &Context,
        lease: &Lease,
        deadline: Instant,
        events: &mut EventEmitter<'_>,
        active_run: &mut ActiveRun,
    ) -> Result<Vec<RecordedCall>, RunFailure> {
        let pool = &context.pool;
        mutate_fence!(lease, pool);
        let mut records = Vec::with_capacity(self.calls.len());
        let (mut built_in, mut mcp) = (Vec::new(), Vec::new());
        for call in self.calls {
            match self.agent.server_of(call) {
                None => built_in.push(call.clone()),
                Some(server) => mcp.push(McpCall {
                    call,
                    server: Arc::clone(server),
                }),
            }
        }
        let step = RecordedStep {
            pool,
            lease,
            step: self.number,
            pending: self.pending,
            deadline,
        };
        if !built_in.is_empty() {
            records = run_built_in(step, &built_in, &self.agent.tools).await?;
            events.tools_finished(&records).await;
        }
        let mut results = pin!(mcp_calls::perform(step, mcp));
        loop {
            let result = tokio::select! {
                result = results.next() => result,
                interrupt = active_run.interrupted() => return Err(interrupt.into()),
            };
            let Some(record) = result.transpose()? else {
                return Ok(records);
            };
            events.tools_finished(std::slice::from_ref(&record)).await;
            records.push(record);
        }
    }
}

/// Makes the calls of built-in tools and commits them with their results. A call that the database rejects is rolled back alone.
///
/// # Errors
/// [`RunFailure::LeaseLost`] and [`RunFailure::Cancelled`], which are detected under the run's lock; a database error. The calls are
/// committed only in the case of [`RunFailure::Cancelled`].
async fn run_built_in(
    at: RecordedStep<'_>,
    calls: &[PlannedCall],
    tools: &[&str],
) -> Result<Vec<RecordedCall>, RunFailure> {
    // A connection that died silently must not block the run forever.
    let (recorded, records) = at
        .pool
        .with_timeout(STATEMENTS_PER_STEP, transaction(at, calls, tools))
        .await
        .flatten()?;
    match recorded {
        RecordOutcome::LeaseLost => Err(RunFailure::LeaseLost),
        RecordOutcome::Written {
            cancel_requested: true,
        } => Err(RunFailure::Cancelled),
        RecordOutcome::Written {
            cancel_requested: false,
        } => Ok(records),
    }
}

async fn transaction(
    at: RecordedStep<'_>,
    calls: &[PlannedCall],
    tools: &[&str],
) -> Result<(RecordOutcome, Vec<RecordedCall>), sqlx::Error> {
    let RecordedStep { lease, step, .. } = at;
    let started = Instant::now();
    let mut connection = at.pool.get().await?;
    let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id).await?;
    let mut records = Vec::with_capacity(calls.len());
    for call in calls {
        let outcome = match at.pending.denied(call) {
            Some(denied) => denied,
            None => {
                step_transaction::run_with_savepoint(&mut transaction, lease.user_id, call, tools).await?
            }
        };
        records.push(step_transaction::call_record(call, outcome));
    }
    let results: Vec<_> = calls
        .iter()
        .zip(&records)
        .map(|(call, record)| CallResult {
            index: call_index(call),
            result: record.result.clone(),
            success: record.success,
        })
        .collect();
    let took = i32::try_from(started.elapsed().as_millis()).unwrap_or(i32::MAX);
    let recorded =
        pending_calls::record_results(&mut transaction, lease.run_id, lease.token, step, &results, took)
            .await?;
    match recorded {
        RecordOutcome::Written { .. } => {
            failpoints::hit(Failpoint::StepWritten);
            transaction.commit().await?;
        }
        RecordOutcome::LeaseLost => transaction.rollback().await?,
    }
    connection.release();
    Ok((recorded, records))
}

/// A step's number in the journal. The agent's limits keep it small.
pub(super) fn step_number(number: u16) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}
