//! The tool calls of a run's steps: with the step's commit, or after it if they need consent or are somebody else's.

use std::{sync::Arc, time::Duration};

use errand_agent::PlannedCall;
use errand_shared::{
    domain::events::final_seq,
    service::{
        failpoints::{self, Failpoint},
        metrics::observe,
    },
    signals::delivery::DeliveryState,
    storage::journal::{
        pending_calls::{self, DeferOutcome, EndingRun},
        steps::{self, RecordedCall, StepRecord},
    },
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    deferred_step::{self, Left},
    driver::{Drive, interruption},
    failure::RunFailure,
    mcp_calls::{self, At, ExternalCall},
    step_transaction::{self, ToolStep},
};
use crate::{agents::Agent, context::Context, queue::run_registry::Flight};

impl<'a> Drive<'a> {
    /// Makes a step's calls and commits them with their results. If those are settled before the commit they are given then,
    /// with what goes on of it.
    pub(super) async fn make(
        &mut self,
        step: StepRecord,
        calls: &[PlannedCall],
        agent: &Agent,
    ) -> Result<(Vec<RecordedCall>, Option<Box<Committing<'a>>>), RunFailure> {
        self.telling.tools_started(calls).await;
        let began = Instant::now();
        let Context { steps, pool, .. } = self.context;
        let lease = self.lease;
        #[cfg(feature = "mutation-fence")]
        let lease = &errand_shared::storage::mutation::unfenced(pool, lease).await;
        let model = model_time(&step);
        let step = ToolStep::new(lease, step, calls.to_vec(), Arc::clone(&agent.tools));
        let step = Arc::new(step);
        let mut performing = step_transaction::perform(steps, pool, Arc::clone(&step))
            .instrument(errand_shared::trace!("tools"))
            .boxed();
        let settled = tokio::select! {
            biased;
            records = &mut performing => Ok(records),
            records = step.made() => Err(records.to_vec()),
        };
        self.tools += began.elapsed();
        match settled {
            Ok(records) => {
                let records = records?;
                reached(self.context, model, &records, began);
                self.telling.tools_finished(&records).await;
                Ok((records, None))
            }
            Err(records) => {
                let committing = Committing {
                    feedback: self.telling.hold(Arc::clone(&step)),
                    step,
                    performing,
                    model,
                    began,
                };
                Ok((records, Some(Box::new(committing))))
            }
        }
    }

    /// Journals a step before its calls are made. If some of them need the user's consent the run is parked then, and this
    /// worker has no part in it any more. True if so.
    pub(super) async fn open(
        &mut self,
        step: StepRecord,
        calls: &[PlannedCall],
        agent: &Agent,
    ) -> Result<bool, RunFailure> {
        let Context { pool, settings, .. } = self.context;
        let lease = self.lease;
        #[cfg(feature = "mutation-fence")]
        let lease = &errand_shared::storage::mutation::unfenced(pool, lease).await;
        let asked = deferred_step::asked(calls, |call| agent.needs_consent(call));
        let seconds = settings.approval.approval_timeout_seconds.into();
        let opened =
            pending_calls::defer_step(pool, lease.run_id, lease.token, &step, &asked, seconds).await?;
        match opened {
            DeferOutcome::AwaitingApproval(parked) => {
                failpoints::hit(Failpoint::ApprovalRequested);
                count(self.context, model_time(&step), &[], Duration::ZERO);
                let waiting = calls.iter().filter(|call| agent.needs_consent(call));
                self.telling.parked(parked, waiting);
                Ok(true)
            }
            DeferOutcome::Recorded => {
                self.is_left = true;
                Ok(false)
            }
            DeferOutcome::CancelRequested => {
                self.open_step = Some(step);
                Err(RunFailure::Cancelled)
            }
            DeferOutcome::LeaseLost => Err(RunFailure::LeaseLost),
        }
    }

    /// Makes the calls that are left of a journalled step, if their user consents to them: those of our own tools together,
    /// then those of other people's at the same time. `model` is what the model took over the step, if that is not counted
    /// yet.
    pub(super) async fn make_left(
        &mut self,
        step: u16,
        calls: &[PlannedCall],
        agent: &Agent,
        left: &Left<'_>,
        model: Duration,
        flight: &mut Flight,
    ) -> Result<Vec<RecordedCall>, RunFailure> {
        self.telling.tools_started(calls).await;
        let began = Instant::now();
        let made = self.make_all_left(step_number(step), calls, agent, left, flight);
        let made = made.instrument(errand_shared::trace!("tools")).await;
        let took = began.elapsed();
        self.tools += took;
        let mut records = made?;
        self.is_left = false;
        count(self.context, model, &records, took);
        failpoints::hit(Failpoint::StepCommitted);
        records.sort_by_key(|record| calls.iter().position(|call| call.id == record.tool_call_id));
        Ok(records)
    }

    pub(super) async fn make_all_left(
        &mut self,
        step: i16,
        calls: &[PlannedCall],
        agent: &Agent,
        left: &Left<'_>,
        flight: &mut Flight,
    ) -> Result<Vec<RecordedCall>, RunFailure> {
        let pool = &self.context.pool;
        let lease = self.lease;
        #[cfg(feature = "mutation-fence")]
        let lease = &errand_shared::storage::mutation::unfenced(pool, lease).await;
        let mut records = Vec::with_capacity(calls.len());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for call in calls {
            match agent.server_of(call) {
                None => ours.push(call.clone()),
                Some(server) => theirs.push(ExternalCall {
                    call,
                    server: Arc::clone(server),
                }),
            }
        }
        if !ours.is_empty() {
            records = deferred_step::perform(pool, lease, step, &ours, left, &agent.tools).await?;
            self.telling.tools_finished(&records).await;
        }
        let at = At {
            pool,
            lease,
            step,
            left,
            deadline: self.deadline,
        };
        let mut answers = std::pin::pin!(mcp_calls::perform(at, theirs));
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                why = flight.interrupted() => return Err(interruption(why)),
            };
            let Some(record) = answer.transpose()? else {
                return Ok(records);
            };
            self.telling.tools_finished(std::slice::from_ref(&record)).await;
            records.push(record);
        }
    }

    /// Answers the calls that are left of a journalled step, because the run ends.
    pub(super) async fn close_left(&self) -> Result<(), sqlx::Error> {
        if !self.is_left {
            return Ok(());
        }
        let Self { context, lease, .. } = self;
        let closing = EndingRun {
            run_id: lease.run_id,
            token: Some(lease.token),
            final_event_seq: final_seq(lease.epoch),
        };
        pending_calls::settle(&context.pool, &[closing]).await
    }

    /// Reads the calls that are journalled, as the run's user sees them.
    pub(super) async fn read_back(&mut self) -> Result<(), sqlx::Error> {
        let Self { context, lease, .. } = self;
        self.tool_calls = steps::calls_of(&context.pool, lease.run_id, lease.user_id).await?;
        Ok(())
    }
}

/// A step whose calls are made and that is being committed.
pub(super) struct Committing<'a> {
    step: Arc<ToolStep>,
    performing: BoxFuture<'a, Result<Vec<RecordedCall>, RunFailure>>,
    feedback: Arc<DeliveryState>,
    /// What the model took over the step.
    model: Duration,
    began: Instant,
}

impl Committing<'_> {
    /// Ends with the commit; what was held back of the run's events until then is told by whoever attends to them.
    ///
    /// # Errors
    /// As [`step_transaction::perform`].
    pub(super) async fn end(&mut self, context: &Context) -> Result<(), RunFailure> {
        let records = (&mut self.performing).await?;
        reached(context, self.model, &records, self.began);
        self.step.set_committed();
        self.feedback.wake();
        Ok(())
    }
}

/// A step is committed.
fn reached(context: &Context, model: Duration, records: &[RecordedCall], began: Instant) {
    count(context, model, records, began.elapsed());
    failpoints::hit(Failpoint::StepCommitted);
}

/// Counts a step and its calls, for which model and tools took so long.
pub(super) fn count(context: &Context, model: Duration, calls: &[RecordedCall], tools: Duration) {
    let metrics = &context.metrics;
    observe(&metrics.step_duration, model + tools);
    if calls.is_empty() {
        return;
    }
    observe(&metrics.tools_duration, tools);
    for call in calls {
        metrics.tool_called(&call.tool_name, call.success);
    }
}

/// A step's number as the journal has it. The agent's bounds keep it small.
pub(super) fn step_number(number: u16) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

/// How long the model took over a step.
pub(super) fn model_time(step: &StepRecord) -> Duration {
    Duration::from_millis(u64::try_from(step.model_ms).unwrap_or_default())
}
