//! The tool calls of steps: effects, results, journal and fences in one transaction, for one step or for those that come
//! together.

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
use errand_task_tools::{Call, ToolOutcome};
use sqlx::{Connection, PgConnection};
use tokio::{sync::SetOnce, time::Instant};
use tracing::{Span, field::Empty};

use super::failure::RunFailure;
use crate::settings::WorkerSettings;

/// A step whose calls are to be made.
#[derive(Debug)]
pub(crate) struct ToolStep {
    run_id: Uuid,
    token: Uuid,
    user_id: Uuid,
    step: StepRecord,
    calls: Vec<PlannedCall>,
    /// The names of the tools that may be called.
    tools: Arc<[&'static str]>,
    /// The calls as they will be journalled, if that is known before the commit.
    made: SetOnce<Vec<RecordedCall>>,
    committed: SetOnce<()>,
}

impl ToolStep {
    /// A step of the run that this lease is for, whose agent has these tools.
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
            made: SetOnce::new(),
            committed: SetOnce::new(),
        }
    }

    /// The calls as they are journalled if the step is committed at all. A step by itself knows them before its commit; one
    /// that is written with others may never tell.
    pub(crate) async fn made(&self) -> &[RecordedCall] {
        self.made.wait().await
    }

    /// Says that the step has been committed.
    pub(crate) fn set_committed(&self) {
        drop(self.committed.set(()));
    }

    /// Whether [`Self::set_committed`] has said so.
    pub(crate) fn is_committed(&self) -> bool {
        self.committed.initialized()
    }

    /// The calls of [`Self::made`], once they are committed.
    pub(crate) async fn committed(&self) -> &[RecordedCall] {
        self.committed.wait().await;
        self.made().await
    }

    fn has(&self, call: &PlannedCall) -> bool {
        self.tools.contains(&call.name.as_str())
    }

    fn only_adds(&self) -> bool {
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

/// What became of a step.
#[derive(Debug)]
pub(crate) enum Stepped {
    /// It is committed.
    Committed {
        /// Its calls as journalled.
        calls: Vec<RecordedCall>,
        /// Whether the run's user has asked for an end meanwhile.
        cancel_requested: bool,
    },
    /// The lease is gone; nothing was done.
    LeaseLost,
}

/// Steps, written together when several come at once.
pub(crate) type Steps = GroupCommit<Arc<ToolStep>, Result<Stepped, sqlx::Error>>;

/// The group of a worker's steps.
pub(crate) fn group(settings: &WorkerSettings, pool: &Pool, ended: &Lifecycle) -> Steps {
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

/// Makes a step's calls, of its agent's tools only, and commits them with their results. Returns the calls as journalled.
///
/// A tool that fails in the database spoils the transaction; the step is then made again with a savepoint around each
/// call, so that the failed ones are undone and answered with an internal error. Not once [`ToolStep::made`] has told what
/// they came to: another try could come to something else.
///
/// # Errors
/// [`RunFailure::LeaseLost`] and [`RunFailure::Cancelled`] as found under the run's lock; a fault of Postgres. Only with
/// [`RunFailure::Cancelled`] has the step been committed.
pub(crate) async fn perform(
    steps: &Steps,
    pool: &Pool,
    step: Arc<ToolStep>,
) -> Result<Vec<RecordedCall>, RunFailure> {
    let traced: Vec<_> = step.calls.iter().map(span).collect();
    let stepped = match steps.write(Arc::clone(&step)).await.flatten() {
        Err(error @ sqlx::Error::Database(_))
            if !errand_shared::storage::is_outage(&error) && !step.made.initialized() =>
        {
            tracing::warn!(run.id = %step.run_id, %error, "a tool failed in the database");
            only(bounded(pool, &[step], Savepoints::EachCall).await?)
        }
        done => done?,
    };
    match stepped {
        Stepped::LeaseLost => Err(RunFailure::LeaseLost),
        Stepped::Committed {
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

/// A call in the run's trace: it is made within its batch, so it lasts as long as that.
fn span(call: &PlannedCall) -> Span {
    errand_shared::trace!(
        "tool",
        otel.name = %format_args!("tool {}", call.name),
        otel.status_code = Empty,
    )
}

/// For how many statements' time a batch may take: most take next to none of it.
const STATEMENTS_A_BATCH: u32 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Savepoints {
    None,
    EachCall,
}

/// Writes a batch with one commit. If one of its leases is lost, the effects of all are undone and each step is written by
/// itself, with an outcome of its own.
async fn write(
    pool: &Pool,
    batch: &[Arc<ToolStep>],
) -> Result<Vec<Result<Stepped, sqlx::Error>>, sqlx::Error> {
    if let Some(written) = bounded(pool, batch, Savepoints::None).await? {
        return Ok(written.into_iter().map(Ok).collect());
    }
    if batch.len() == 1 {
        return Ok(vec![Ok(Stepped::LeaseLost)]);
    }
    tracing::warn!(steps = batch.len(), "a lease is lost; writing one by one");
    let mut written = Vec::with_capacity(batch.len());
    for step in batch {
        let alone = bounded(pool, std::slice::from_ref(step), Savepoints::None).await;
        written.push(alone.map(only));
    }
    Ok(written)
}

/// What became of the one step of a batch.
fn only(written: Option<Vec<Stepped>>) -> Stepped {
    written
        .and_then(|mut one| one.pop())
        .unwrap_or(Stepped::LeaseLost)
}

/// Nobody waits for ever for a connection that has died without a word.
async fn bounded(
    pool: &Pool,
    batch: &[Arc<ToolStep>],
    savepoints: Savepoints,
) -> Result<Option<Vec<Stepped>>, sqlx::Error> {
    pool.with_timeout(STATEMENTS_A_BATCH, attempt(pool, batch, savepoints))
        .await?
}

/// None if a lease is lost; then nothing is written.
async fn attempt(
    pool: &Pool,
    batch: &[Arc<ToolStep>],
    savepoints: Savepoints,
) -> Result<Option<Vec<Stepped>>, sqlx::Error> {
    let started = Instant::now();
    let mut connection = pool.get().await?;
    // Where several statements lock something the order must be theirs all. One statement that adds tasks has it by itself.
    let mut transaction = if batch.len() == 1 || batch.iter().all(|step| step.only_adds()) {
        steps::begin_unlocked(&mut connection).await?
    } else {
        let fences: Vec<_> = batch.iter().map(|step| step.fence()).collect();
        steps::begin_all(&mut connection, &fences).await?
    };
    let mut outcomes = match savepoints {
        Savepoints::None => make(&mut transaction, batch).await?,
        Savepoints::EachCall => make_undoable(&mut transaction, batch).await?,
    }
    .into_iter();
    let tools_ms = i32::try_from(started.elapsed().as_millis()).unwrap_or(i32::MAX);
    let done: Vec<(StepRecord, Vec<RecordedCall>)> = batch
        .iter()
        .map(|step| {
            let record = StepRecord {
                tools_ms,
                ..step.step.clone()
            };
            let calls = step.calls.iter().zip(outcomes.by_ref());
            (
                record,
                calls.map(|(call, outcome)| journalled(call, outcome)).collect(),
            )
        })
        .collect();
    if let ([step], [(_, calls)], Savepoints::None) = (batch, &*done, savepoints) {
        // This is its last attempt then, so nobody has been told otherwise.
        drop(step.made.set(calls.clone()));
    }
    let entries: Vec<_> = batch
        .iter()
        .zip(&done)
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
        .zip(done)
        .map(|(recorded, (_, calls))| match recorded {
            RecordOutcome::LeaseLost => None,
            RecordOutcome::Written { cancel_requested } => Some(Stepped::Committed {
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

/// A call with what came of it.
pub(crate) fn journalled(call: &PlannedCall, outcome: ToolOutcome) -> RecordedCall {
    RecordedCall {
        tool_call_id: call.id.clone(),
        tool_name: call.name.clone(),
        arguments: call.journal_arguments(),
        result: outcome.result,
        success: outcome.success,
    }
}

/// Makes all calls of the batch: one outcome each, step by step.
async fn make(
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
            step.has(call).then_some(Call {
                user_id: step.user_id,
                name: &call.name,
                arguments,
            })
        })
        .collect();
    let mut made = errand_task_tools::call_all(connection, &calls).await?.into_iter();
    planned()
        .map(|(step, call)| match refused(call, &step.tools)? {
            Some(refused) => Ok(refused),
            None => made.next().ok_or(sqlx::Error::RowNotFound),
        })
        .collect()
}

/// The outcome of a call that is not to be made. None for one that is.
fn refused(call: &PlannedCall, tools: &[&str]) -> Result<Option<ToolOutcome>, sqlx::Error> {
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

async fn make_undoable(
    connection: &mut PgConnection,
    batch: &[Arc<ToolStep>],
) -> Result<Vec<ToolOutcome>, sqlx::Error> {
    let mut outcomes = Vec::new();
    for step in batch {
        for call in &step.calls {
            outcomes.push(make_one(connection, step.user_id, call, &step.tools).await?);
        }
    }
    Ok(outcomes)
}

/// Makes one call of one of these tools in the caller's transaction, or answers it with its refusal. It is undone alone if
/// Postgres refuses it.
///
/// # Errors
/// A fault of Postgres that spoils the transaction.
pub(crate) async fn make_one(
    connection: &mut PgConnection,
    user_id: Uuid,
    call: &PlannedCall,
    tools: &[&str],
) -> Result<ToolOutcome, sqlx::Error> {
    if let Some(refused) = refused(call, tools)? {
        return Ok(refused);
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
