//! The transaction of a step: checks the lease, runs the built-in tools and records the step with their results. Steps that arrive at the
//! same time share a transaction.

use std::sync::Arc;

use errand_agent::PlannedCall;
use errand_shared::{
    Uuid,
    service::{
        failpoints::{self, Failpoint},
        lifecycle::Lifecycle,
    },
    storage::{
        Pool,
        group_commit::GroupCommit,
        journal::steps::{self, Fence, RecordOutcome, RecordedCall, StepEntry, StepRecord},
        queue::claims::Lease,
    },
};
use errand_task_tools::ToolOutcome;
use sqlx::{Connection, PgConnection};
use tokio::{sync::SetOnce, time::Instant};
use tracing::{Span, field::Empty};

use super::failure::RunFailure;
use crate::settings::WorkerSettings;

/// A step with the calls of built-in tools that the model requested.
#[derive(Debug)]
pub(crate) struct ToolStep {
    run_id: Uuid,
    token: Uuid,
    user_id: Uuid,
    step: StepRecord,
    calls: Vec<PlannedCall>,
    /// The names of the agent's built-in tools.
    tools: Arc<[&'static str]>,
    /// The results, set before the commit if the step has a transaction of its own.
    early_results: SetOnce<Vec<RecordedCall>>,
    committed: SetOnce<()>,
}

impl ToolStep {
    pub(crate) fn new(
        lease: &Lease,
        step: StepRecord,
        calls: Vec<PlannedCall>,
        tools: Arc<[&'static str]>,
    ) -> Self {
        Self {
            run_id: lease.run_id,
            token: lease.token,
            user_id: lease.user_id,
            step,
            calls,
            tools,
            early_results: SetOnce::new(),
            committed: SetOnce::new(),
        }
    }

    /// Waits for the results that the step will have if it is committed. A step that shares its transaction never has early results.
    pub(crate) async fn early_results(&self) -> &[RecordedCall] {
        self.early_results.wait().await
    }

    pub(crate) fn mark_committed(&self) {
        drop(self.committed.set(()));
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.committed.initialized()
    }

    /// Waits for [`Self::mark_committed`]. Returns the early results.
    pub(crate) async fn committed_results(&self) -> &[RecordedCall] {
        self.committed.wait().await;
        self.early_results().await
    }

    fn has_tool(&self, call: &PlannedCall) -> bool {
        self.tools.contains(&call.name.as_str())
    }

    fn only_adds_tasks(&self) -> bool {
        self.calls.iter().all(|call| call.name == errand_task_tools::ADD)
    }

    const fn fence(&self) -> Fence {
        Fence {
            run_id: self.run_id,
            token: self.token,
            user_id: self.user_id,
        }
    }
}

/// The outcome of a step.
#[derive(Debug)]
pub(crate) enum StepOutcome {
    Committed {
        calls: Vec<RecordedCall>,
        /// Whether the user has requested the run's cancellation.
        cancel_requested: bool,
    },
    /// Another worker has the lease; nothing was written.
    LeaseLost,
}

/// The steps of all runs of this worker; those that arrive at the same time are committed together.
pub(crate) type Steps = GroupCommit<Arc<ToolStep>, Result<StepOutcome, sqlx::Error>>;

/// Starts the group commit of steps.
pub(crate) fn group_commit(settings: &WorkerSettings, pool: &Pool, ended: &Lifecycle) -> Steps {
    let pool = pool.clone();
    GroupCommit::start(
        settings.store.database_batch_max as usize,
        ended,
        move |batch: Arc<[Arc<ToolStep>]>| {
            let pool = pool.clone();
            async move { write(&pool, &batch).await }
        },
    )
}

/// Runs a step's tools and commits them with their results. Returns the calls as recorded.
///
/// A tool that fails in the database aborts the transaction. The step is then executed again with a savepoint around each call, and the
/// failed calls get an internal error as their result. This is not done once [`ToolStep::early_results`] has returned: a second execution
/// could have other results.
///
/// # Errors
/// [`RunFailure::LeaseLost`] and [`RunFailure::Cancelled`], which are detected under the run's lock; a database error. The step is
/// committed only in the case of [`RunFailure::Cancelled`].
pub(crate) async fn perform(
    steps: &Steps,
    pool: &Pool,
    step: Arc<ToolStep>,
) -> Result<Vec<RecordedCall>, RunFailure> {
    let traced: Vec<_> = step.calls.iter().map(span).collect();
    let outcome = match steps.write(Arc::clone(&step)).await.flatten() {
        Err(error @ sqlx::Error::Database(_))
            if !errand_shared::storage::is_outage(&error) && !step.early_results.initialized() =>
        {
            tracing::warn!(run.id = %step.run_id, %error, "a tool failed in the database; running the step again with savepoints");
            single(write_in_time(pool, &[step], Savepoints::EachCall).await?)
        }
        done => done?,
    };
    match outcome {
        StepOutcome::LeaseLost => Err(RunFailure::LeaseLost),
        StepOutcome::Committed {
            calls,
            cancel_requested,
        } => {
            for (call, traced) in calls.iter().zip(&traced) {
                if !call.success {
                    traced.record("otel.status_code", "ERROR");
                }
            }
            if cancel_requested {
                Err(RunFailure::Cancelled)
            } else {
                Ok(calls)
            }
        }
    }
}

/// A call in the run's trace. It lasts as long as the batch in which the call is made.
fn span(call: &PlannedCall) -> Span {
    errand_shared::trace!(
        "tool",
        otel.name = %format_args!("tool {}", call.name),
        otel.status_code = Empty,
    )
}

/// The time limit for a batch, in multiples of the time limit for one statement. Most batches take a small part of it.
const STATEMENTS_PER_BATCH: u32 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Savepoints {
    None,
    EachCall,
}

/// Writes a batch in one transaction. If one of the leases is lost, that transaction is rolled back, and each step gets a transaction of
/// its own.
async fn write(
    pool: &Pool,
    batch: &[Arc<ToolStep>],
) -> Result<Vec<Result<StepOutcome, sqlx::Error>>, sqlx::Error> {
    if let Some(written) = write_in_time(pool, batch, Savepoints::None).await? {
        return Ok(written.into_iter().map(Ok).collect());
    }
    if batch.len() == 1 {
        return Ok(vec![Ok(StepOutcome::LeaseLost)]);
    }
    tracing::warn!(
        steps = batch.len(),
        "a lease is lost; writing the steps one by one"
    );
    let mut written = Vec::with_capacity(batch.len());
    for step in batch {
        let outcome = write_in_time(pool, std::slice::from_ref(step), Savepoints::None).await;
        written.push(outcome.map(single));
    }
    Ok(written)
}

/// The outcome of a batch of one step.
fn single(written: Option<Vec<StepOutcome>>) -> StepOutcome {
    written
        .and_then(|mut outcomes| outcomes.pop())
        .unwrap_or(StepOutcome::LeaseLost)
}

/// Writes a batch within a time limit: a connection that died silently must not block the writer forever.
async fn write_in_time(
    pool: &Pool,
    batch: &[Arc<ToolStep>],
    savepoints: Savepoints,
) -> Result<Option<Vec<StepOutcome>>, sqlx::Error> {
    pool.with_timeout(STATEMENTS_PER_BATCH, write_once(pool, batch, savepoints))
        .await?
}

/// Returns `None` if a lease is lost; nothing is written then.
async fn write_once(
    pool: &Pool,
    batch: &[Arc<ToolStep>],
    savepoints: Savepoints,
) -> Result<Option<Vec<StepOutcome>>, sqlx::Error> {
    let started = Instant::now();
    let mut connection = pool.get().await?;
    // Statements of several transactions must lock tasks in the same order, which the locks on their users ensure. A single statement that
    // only adds tasks needs no such lock.
    let mut transaction = if batch.len() == 1 || batch.iter().all(|step| step.only_adds_tasks()) {
        steps::begin_unlocked(&mut connection).await?
    } else {
        let fences: Vec<_> = batch.iter().map(|step| step.fence()).collect();
        steps::begin_all(&mut connection, &fences).await?
    };
    let mut outcomes = match savepoints {
        Savepoints::None => run_tools(&mut transaction, batch).await?,
        Savepoints::EachCall => run_tools_with_savepoints(&mut transaction, batch).await?,
    }
    .into_iter();
    let tools_ms = i32::try_from(started.elapsed().as_millis()).unwrap_or(i32::MAX);
    let executed: Vec<(StepRecord, Vec<RecordedCall>)> = batch
        .iter()
        .map(|step| {
            let record = StepRecord {
                tools_ms,
                ..step.step.clone()
            };
            let calls = step.calls.iter().zip(outcomes.by_ref());
            (
                record,
                calls.map(|(call, outcome)| call_record(call, outcome)).collect(),
            )
        })
        .collect();
    if let ([step], [(_, calls)], Savepoints::None) = (batch, &*executed, savepoints) {
        // The step is not executed again after this, so these results are final.
        drop(step.early_results.set(calls.clone()));
    }
    let entries: Vec<_> = batch
        .iter()
        .zip(&executed)
        .map(|(step, (record, calls))| StepEntry {
            run_id: step.run_id,
            token: step.token,
            step: record,
            calls,
        })
        .collect();
    let recorded = steps::record_all(&mut transaction, &entries).await?;
    let written = recorded
        .into_iter()
        .zip(executed)
        .map(|(recorded, (_, calls))| match recorded {
            RecordOutcome::LeaseLost => None,
            RecordOutcome::Written { cancel_requested } => Some(StepOutcome::Committed {
                calls,
                cancel_requested,
            }),
        });
    let written: Option<Vec<_>> = written.collect();
    if written.is_some() {
        failpoints::hit(Failpoint::StepWritten);
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    connection.release();
    Ok(written)
}

pub(crate) fn call_record(call: &PlannedCall, outcome: ToolOutcome) -> RecordedCall {
    RecordedCall {
        tool_call_id: call.id.clone(),
        tool_name: call.name.clone(),
        arguments: call.journal_arguments(),
        result: outcome.result,
        success: outcome.success,
    }
}

/// Runs the calls of all steps. Returns one outcome per call, in order.
async fn run_tools(
    connection: &mut PgConnection,
    batch: &[Arc<ToolStep>],
) -> Result<Vec<ToolOutcome>, sqlx::Error> {
    let planned = || {
        batch
            .iter()
            .flat_map(|step| step.calls.iter().map(move |call| (step, call)))
    };
    let calls: Vec<_> = planned()
        .filter_map(|(step, call)| {
            let arguments = call.arguments.as_ref().ok()?;
            step.has_tool(call)
                .then_some((step.user_id, &*call.name, arguments))
        })
        .collect();
    let mut outcomes = errand_task_tools::call_all(connection, &calls).await?.into_iter();
    planned()
        .map(|(step, call)| match rejected(call, &step.tools)? {
            Some(rejected) => Ok(rejected),
            None => outcomes.next().ok_or(sqlx::Error::RowNotFound),
        })
        .collect()
}

/// The outcome of a call that must not be made: its arguments are invalid or the agent has no such tool. `None` if it may be made.
fn rejected(call: &PlannedCall, tools: &[&str]) -> Result<Option<ToolOutcome>, sqlx::Error> {
    let Some(refusal) = call.refusal() else {
        let is_known = tools.contains(&call.name.as_str());
        return Ok((!is_known).then(|| errand_task_tools::unknown_tool(&call.name, tools)));
    };
    let result = serde_json::from_str(&refusal).map_err(|error| sqlx::Error::Encode(error.into()))?;
    Ok(Some(ToolOutcome {
        success: false,
        result,
    }))
}

async fn run_tools_with_savepoints(
    connection: &mut PgConnection,
    batch: &[Arc<ToolStep>],
) -> Result<Vec<ToolOutcome>, sqlx::Error> {
    let mut outcomes = Vec::new();
    for step in batch {
        for call in &step.calls {
            outcomes.push(run_with_savepoint(connection, step.user_id, call, &step.tools).await?);
        }
    }
    Ok(outcomes)
}

/// Makes one call in the caller's transaction. If the database rejects it, only this call is rolled back.
///
/// # Errors
/// A database error that aborts the transaction.
pub(crate) async fn run_with_savepoint(
    connection: &mut PgConnection,
    user_id: Uuid,
    call: &PlannedCall,
    tools: &[&str],
) -> Result<ToolOutcome, sqlx::Error> {
    if let Some(rejected) = rejected(call, tools)? {
        return Ok(rejected);
    }
    let Ok(arguments) = &call.arguments else {
        return Ok(errand_task_tools::internal_error());
    };
    let mut savepoint = connection.begin().await?;
    match errand_task_tools::call(&mut savepoint, user_id, &call.name, arguments).await {
        Ok(outcome) => {
            savepoint.commit().await?;
            Ok(outcome)
        }
        Err(sqlx::Error::Database(_)) => {
            savepoint.rollback().await?;
            Ok(errand_task_tools::internal_error())
        }
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests;
