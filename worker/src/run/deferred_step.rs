//! Steps that are journalled before their calls are made ([`asked`]): what goes into the journal, and what is done once it
//! is there, by whichever worker has the run then.

use std::collections::HashMap;

use errand_agent::PlannedCall;
use errand_shared::{
    service::failpoints::{self, Failpoint},
    storage::{
        Pool,
        journal::{
            pending_calls::{self, CallResult, PendingCall},
            steps::{self, RecordOutcome, RecordedCall},
        },
        queue::claims::Lease,
    },
};
use errand_task_tools::ToolOutcome;
use tokio::time::Instant;

use super::{failure::RunFailure, step_transaction};

/// For how many statements' time the calls of a step may take: most take next to none of it.
const STATEMENTS_A_STEP: u32 = 4;

/// The calls as they are journalled before they are made.
pub(crate) fn asked(calls: &[PlannedCall], needs_consent: impl Fn(&PlannedCall) -> bool) -> Vec<PendingCall> {
    calls
        .iter()
        .map(|call| PendingCall {
            index: place(call),
            tool_call_id: call.id.clone(),
            tool_name: call.name.clone(),
            arguments: call.journal_arguments(),
            refusal: call.arguments.as_ref().err().cloned(),
            needs_approval: needs_consent(call),
            approved: None,
            started: false,
        })
        .collect()
}

/// What the journal says of calls before they are made, by their places.
#[derive(Debug, Default)]
pub(crate) struct Left<'a>(HashMap<i16, &'a PendingCall>);

impl<'a> Left<'a> {
    /// What an earlier attempt has left of the run's last step.
    pub(crate) fn of(lease: &'a Lease) -> Self {
        let last = lease.journal.last();
        let asked = last.map(|step| step.pending.as_slice()).unwrap_or_default();
        Self(asked.iter().map(|call| (call.index, call)).collect())
    }

    /// Whether it has left nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The outcome of a call that must not be made, because its user does not consent. A run that goes on waits no more.
    pub(crate) fn withheld(&self, call: &PlannedCall) -> Option<ToolOutcome> {
        let asked = self.0.get(&place(call)).filter(|asked| asked.needs_approval)?;
        match asked.approved {
            Some(true) => None,
            Some(false) => Some(errand_task_tools::declined()),
            None => Some(errand_task_tools::approval_expired()),
        }
    }

    /// Whether a worker that is gone had begun to make this call.
    pub(crate) fn was_started(&self, call: &PlannedCall) -> bool {
        self.0.get(&place(call)).is_some_and(|asked| asked.started)
    }
}

/// Makes those calls of an open step whose effects this database has, and that its user consents to, and commits them with the results of all. Each is undone alone
/// if Postgres refuses it.
///
/// # Errors
/// [`RunFailure::LeaseLost`] and [`RunFailure::Cancelled`] as found under the run's lock; a fault of Postgres. Only with
/// [`RunFailure::Cancelled`] have the calls been committed.
pub(crate) async fn perform(
    pool: &Pool,
    lease: &Lease,
    step: i16,
    calls: &[PlannedCall],
    left: &Left<'_>,
    tools: &[&str],
) -> Result<Vec<RecordedCall>, RunFailure> {
    // Nobody waits for ever for a connection that has died without a word.
    let (recorded, records) = pool
        .with_timeout(STATEMENTS_A_STEP, attempt(pool, lease, step, calls, left, tools))
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

async fn attempt(
    pool: &Pool,
    lease: &Lease,
    step: i16,
    calls: &[PlannedCall],
    left: &Left<'_>,
    tools: &[&str],
) -> Result<(RecordOutcome, Vec<RecordedCall>), sqlx::Error> {
    let began = Instant::now();
    let mut connection = pool.get().await?;
    let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id).await?;
    let mut records = Vec::with_capacity(calls.len());
    for call in calls {
        let outcome = match left.withheld(call) {
            Some(withheld) => withheld,
            None => step_transaction::make_one(&mut transaction, lease.user_id, call, tools).await?,
        };
        records.push(step_transaction::journalled(call, outcome));
    }
    let answers: Vec<_> = calls
        .iter()
        .zip(&records)
        .map(|(call, record)| CallResult {
            index: place(call),
            result: record.result.clone(),
            success: record.success,
        })
        .collect();
    let took = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
    let recorded =
        pending_calls::record_results(&mut transaction, lease.run_id, lease.token, step, &answers, took)
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

/// A call's place in its step. The agent's bounds keep it small.
pub(crate) fn place(call: &PlannedCall) -> i16 {
    i16::try_from(call.index).unwrap_or(i16::MAX)
}
