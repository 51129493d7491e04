//! The tool calls of one step: effects, results, journal and fence in one transaction.

use errand_agent::PlannedCall;
use errand_shared::{
    db::{
        Pool,
        claims::Lease,
        steps::{self, CallRecord, Recorded, StepRecord},
    },
    kill_point::{self, KillPoint},
};
use errand_tools::ToolOutcome;
use sqlx::{Acquire, PgConnection};
use tokio::time::Instant;
use tracing::{Instrument, field::Empty};

use crate::failure::RunFailure;

/// Makes a step's calls, of `tools` only, and commits them with their results. Returns the calls as journalled.
///
/// A tool that fails in the database spoils the transaction; the step is then made again with a savepoint around each
/// call, so that the failed ones are undone and answered with an internal error.
///
/// # Errors
/// [`RunFailure::LeaseLost`] and [`RunFailure::Cancelled`] as found under the run's lock; a fault of Postgres. Only with
/// [`RunFailure::Cancelled`] has the step been committed.
pub(crate) async fn perform(
    pool: &Pool,
    lease: &Lease,
    step: &StepRecord,
    calls: &[PlannedCall],
    tools: &[&str],
) -> Result<Vec<CallRecord>, RunFailure> {
    #[cfg(feature = "sabotage-fence")]
    let lease = &errand_shared::db::sabotage::unfenced(pool, lease).await;
    let asked = Asked { calls, tools };
    match bounded(pool, lease, step, asked, Savepoints::None).await {
        Err(RunFailure::Database(error @ sqlx::Error::Database(_)))
            if !errand_shared::db::is_outage(&error) =>
        {
            tracing::warn!(run.id = %lease.run_id, %error, "a tool failed in the database");
            bounded(pool, lease, step, asked, Savepoints::EachCall).await
        }
        done => done,
    }
}

/// For how many statements' time a step may take: most take next to none of it.
const STATEMENTS_A_STEP: u32 = 4;

/// The calls of a step, and the names of the tools that its agent has.
#[derive(Clone, Copy)]
struct Asked<'a> {
    calls: &'a [PlannedCall],
    tools: &'a [&'a str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Savepoints {
    None,
    EachCall,
}

/// Nobody waits for ever for a connection that has died without a word.
async fn bounded(
    pool: &Pool,
    lease: &Lease,
    step: &StepRecord,
    asked: Asked<'_>,
    savepoints: Savepoints,
) -> Result<Vec<CallRecord>, RunFailure> {
    let attempt = attempt(pool, lease, step.clone(), asked, savepoints);
    pool.in_time(STATEMENTS_A_STEP, attempt).await?
}

async fn attempt(
    pool: &Pool,
    lease: &Lease,
    mut step: StepRecord,
    asked: Asked<'_>,
    savepoints: Savepoints,
) -> Result<Vec<CallRecord>, RunFailure> {
    let started = Instant::now();
    let mut connection = pool.get().await?;
    let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id).await?;
    let mut records = Vec::with_capacity(asked.calls.len());
    for call in asked.calls {
        let traced = errand_traces::trace!(
            "tool",
            otel.name = %format_args!("tool {}", call.name),
            otel.status_code = Empty,
        );
        let made = async {
            match savepoints {
                Savepoints::None => make(&mut transaction, lease, call, asked.tools).await,
                Savepoints::EachCall => make_undoable(&mut transaction, lease, call, asked.tools).await,
            }
        };
        let outcome = made.instrument(traced.clone()).await?;
        if !outcome.success {
            traced.record("otel.status_code", "ERROR");
        }
        records.push(CallRecord {
            tool_call_id: call.id.clone(),
            tool_name: call.name.clone(),
            arguments: call.journal_arguments(),
            result: outcome.result,
            success: outcome.success,
        });
    }
    step.tools_ms = i32::try_from(started.elapsed().as_millis()).unwrap_or(i32::MAX);
    match steps::record(&mut transaction, lease.run_id, lease.token, &step, &records).await? {
        Recorded::LeaseLost => {
            transaction.rollback().await?;
            connection.keep();
            Err(RunFailure::LeaseLost)
        }
        Recorded::Written { cancel_requested } => {
            kill_point::reached(KillPoint::StepWritten);
            transaction.commit().await?;
            connection.keep();
            if cancel_requested {
                Err(RunFailure::Cancelled)
            } else {
                Ok(records)
            }
        }
    }
}

async fn make(
    connection: &mut PgConnection,
    lease: &Lease,
    call: &PlannedCall,
    tools: &[&str],
) -> Result<ToolOutcome, sqlx::Error> {
    match (&call.arguments, call.refusal()) {
        (Ok(_), _) if !tools.contains(&call.name.as_str()) => {
            Ok(errand_tools::unknown_tool(&call.name, tools))
        }
        (Ok(arguments), _) => errand_tools::call(connection, lease.user_id, &call.name, arguments).await,
        (Err(_), refusal) => {
            let result = serde_json::from_str(&refusal.unwrap_or_default())
                .map_err(|error| sqlx::Error::Encode(error.into()))?;
            Ok(ToolOutcome {
                success: false,
                result,
            })
        }
    }
}

async fn make_undoable(
    connection: &mut PgConnection,
    lease: &Lease,
    call: &PlannedCall,
    tools: &[&str],
) -> Result<ToolOutcome, sqlx::Error> {
    let mut savepoint = connection.begin().await?;
    match make(&mut savepoint, lease, call, tools).await {
        Ok(outcome) => {
            savepoint.commit().await?;
            Ok(outcome)
        }
        Err(sqlx::Error::Database(_)) => {
            savepoint.rollback().await?;
            Ok(errand_tools::internal_error())
        }
        Err(fault) => Err(fault),
    }
}
