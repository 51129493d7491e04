//! Drives one claimed run: asks the agent for the next action, performs it, and repeats until the run has an outcome.
//!
//! It knows no SQL and no event format. [`finish`](super::finish) applies the outcome.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use errand_agent::{Action, AgentRun, Message, ModelAnswer, PlannedCall, Prompt};
use errand_shared::{
    Uuid,
    domain::chat::{ToolCallView, Usage},
    service::{
        failpoints::{self, Failpoint},
        metrics::observe,
    },
    storage::{
        journal::steps::{RecordedCall, StepRecord, with_user_id},
        queue::claims::Lease,
        runs::finish::Ending,
    },
};
use futures::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    commit_in_flight::{self, CommitInFlight},
    deferred_step::{self, DeferredStep},
    events::EventEmitter,
    failure::RunFailure,
    finish::{self, DriveOutcome, RunProgress},
    pending_calls::PendingCalls,
    step_transaction::ToolStep,
    transcript,
};
use crate::{
    agents::{Agent, Model},
    context::Context,
    metrics::{Attempt, End},
    queue::run_registry::ActiveRun,
};

/// Executes a run. It ends with the run finished, released to the queue, or left to the worker that holds its lease by then.
pub(crate) fn execute(
    context: Arc<Context>,
    lease: Lease,
    active_run: ActiveRun,
) -> impl Future<Output = ()> {
    let log = tracing::info_span!(
        "run",
        run.id = %lease.run_id,
        run.attempt = lease.attempt,
        conversation.id = %lease.conversation_id,
        request.id = lease.origin.request_id.as_deref(),
    );
    let traced = errand_shared::trace!(
        "run",
        otel.kind = "consumer",
        run.id = %lease.run_id,
        run.attempt = lease.attempt,
        conversation.id = %lease.conversation_id,
    );
    errand_shared::service::traces::adopt(&traced, lease.origin.traceparent.as_deref());
    attempt(context, lease, active_run)
        .instrument(traced)
        .instrument(log)
}

async fn attempt(context: Arc<Context>, lease: Lease, mut active_run: ActiveRun) {
    let metrics = &context.metrics;
    observe(&metrics.start_delay, active_run.started_at().elapsed());
    let mut driver = RunDriver::new(&context, &lease, &active_run);
    // Boxed, as are the futures below: 10,000 runs wait for their models at the same time, and a future is as large as the
    // largest future that it may await.
    let result = AssertUnwindSafe(Box::pin(driver.run_loop(&mut active_run)))
        .catch_unwind()
        .await;
    let result = result.unwrap_or(Err(RunFailure::Panicked));
    let outcome = match Box::pin(finish::apply_outcome(&context, &lease, driver.progress, result)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(run.id = %lease.run_id, %error, "the outcome of the run could not be stored");
            if let Err(error) = Box::pin(finish::release_or_fail(&context, &lease, error)).await {
                tracing::warn!(run.id = %lease.run_id, %error, "the heartbeat's reconciliation will release the run");
            }
            Attempt::Unresolved
        }
    };
    let took = active_run.started_at().elapsed();
    observe(&metrics.attempts.of(outcome), took);
    let end = match outcome {
        Attempt::Succeeded => End::Succeeded,
        Attempt::Failed => End::Failed,
        Attempt::Cancelled => End::Cancelled,
        Attempt::Lost => {
            metrics.leases_lost.inc();
            return;
        }
        Attempt::Released | Attempt::Retried | Attempt::AwaitingApproval | Attempt::Unresolved => return,
    };
    observe(&metrics.responses.of(end), lease.age() + took);
}

/// A larger token count of a single model call is capped to this, so that sums stay far below the range of an `i64`.
const MAX_TOKENS: i64 = 1_000_000_000_000;

/// The state of one attempt.
struct RunDriver<'a> {
    context: &'a Context,
    lease: &'a Lease,
    deadline: Instant,
    events: EventEmitter<'a>,
    progress: RunProgress,
}

impl<'a> RunDriver<'a> {
    fn new(context: &'a Context, lease: &'a Lease, active_run: &ActiveRun) -> Self {
        let remaining = (lease.deadline_at - lease.now).to_std().unwrap_or(Duration::ZERO);
        Self {
            context,
            lease,
            deadline: Instant::now() + remaining,
            events: EventEmitter::new(context, lease, active_run),
            progress: RunProgress {
                tool_calls: transcript::records(&lease.journal, lease.user_id),
                unrecorded_step: None,
                has_pending_calls: !PendingCalls::of(lease).is_empty(),
                model_time: Duration::ZERO,
                tools_time: Duration::ZERO,
            },
        }
    }

    /// The tool loop. Returns when the run has a reply, needs approval, fails or is interrupted.
    async fn run_loop(&mut self, active_run: &mut ActiveRun) -> Result<DriveOutcome, RunFailure> {
        if self.lease.cancel_requested {
            return Err(RunFailure::Cancelled);
        }
        self.events.started().await;
        let lease = self.lease;
        let agents = &self.context.agents;
        let agent = agents
            .find(lease.agent.as_deref())
            .ok_or(RunFailure::NoSuchAgent)?;
        let today = || lease.now.format("%A, %-d %B %Y").to_string();
        let mut run = AgentRun::new(
            agent.limits,
            Prompt::new(&lease.user_name, &today(), Arc::clone(&agent.instructions)),
            transcript::history(lease.history.clone()),
            lease.message.clone(),
            transcript::journal(&lease.journal),
        );
        // The previous step, if the model is called before its commit has finished.
        let mut commit = None;
        let mut position = agent.models.first();
        loop {
            let model = agent.models.get(position).ok_or(RunFailure::NoSuchAgent)?;
            model.fit(&mut run);
            match run.next() {
                Action::CallModel { messages } => {
                    let number = run.step();
                    let started = Instant::now();
                    let answer = self
                        .call_model(messages, agent, model, commit.take(), active_run)
                        .await;
                    let took = started.elapsed();
                    self.progress.model_time += took;
                    match answer {
                        Ok(answer) => {
                            self.record_answer(number, &answer, took);
                            run.model_answered(answer);
                        }
                        Err(RunFailure::Model(error)) => {
                            position = agent.models.recover(position, &mut run, error)?;
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                Action::CallTools { step: number, calls } => {
                    let resumes_partial_step =
                        self.progress.unrecorded_step.is_none() && is_partly_done(lease);
                    let records = if let Some(mut step) = self.progress.unrecorded_step.take() {
                        run.content().clone_into(&mut step.content);
                        step.provider_data = run.provider_data().cloned();
                        failpoints::hit(Failpoint::ToolsRequested);
                        if calls.iter().any(|call| agent.is_deferred(call)) {
                            let model_time = step_model_time(&step);
                            if self.defer(step, calls, agent).await? {
                                return Ok(DriveOutcome::AwaitingApproval);
                            }
                            let pending = PendingCalls::default();
                            let step = DeferredStep::new(number, calls, agent, &pending, model_time);
                            Box::pin(self.run_deferred(step, active_run)).await?
                        } else {
                            let (records, in_flight) = Box::pin(self.run_tools(step, calls, agent)).await?;
                            commit = in_flight;
                            records
                        }
                    } else {
                        // An earlier attempt recorded the step; some of its calls have no result yet.
                        failpoints::hit(Failpoint::PendingCallsLoaded);
                        let pending = PendingCalls::of(lease);
                        let step = DeferredStep::new(number, calls, agent, &pending, Duration::ZERO);
                        Box::pin(self.run_deferred(step, active_run)).await?
                    };
                    let results = records.iter().map(|record| record.result.to_string()).collect();
                    self.progress
                        .tool_calls
                        .extend(records.into_iter().map(|record| ToolCallView {
                            tool_call_id: record.tool_call_id,
                            tool_name: record.tool_name,
                            arguments: with_user_id(&record.arguments, lease.user_id),
                            result: record.result,
                        }));
                    if resumes_partial_step {
                        // Results of this step that existed before stand in a different order.
                        finish::reload_tool_calls(self.context, lease, &mut self.progress).await?;
                    }
                    run.tools_finished(results);
                }
                Action::Reply { text } => {
                    if let Some(step) = &self.progress.unrecorded_step {
                        let metrics = &self.context.metrics;
                        metrics.step_finished(step_model_time(step), &[], Duration::ZERO);
                    }
                    self.events.replied(text).await;
                    return Ok(DriveOutcome::Ended(Ending::Succeeded {
                        message_id: Uuid::now_v7(),
                        content: text.to_owned(),
                        tool_calls: serde_json::to_value(&self.progress.tool_calls)
                            .map_err(|error| RunFailure::Database(sqlx::Error::Encode(error.into())))?,
                    }));
                }
                Action::Fail(failure) => return Err(RunFailure::Agent(*failure)),
            }
        }
    }

    /// Calls the model, possibly while the previous step still commits. The answer is returned only after that commit: see
    /// [`commit_in_flight`].
    fn call_model(
        &mut self,
        messages: &[Message],
        agent: &Agent,
        model: &Model,
        commit: Option<Box<CommitInFlight<'_>>>,
        active_run: &mut ActiveRun,
    ) -> impl Future<Output = Result<ModelAnswer, RunFailure>> {
        let (deadline, events) = (self.deadline, &mut self.events);
        async move {
            let mut answering = pin!(async {
                if !agent.mcp_tools.is_empty() {
                    // Listing the tools may wait for an MCP server. Publish the previous step's results first.
                    events.wait_for_commit().await;
                }
                let mcp_tools = agent.mcp_tools.offers().await;
                let answer = model.client.ask(messages, &mcp_tools, deadline, events).await;
                // The model client may return without having waited, for example when the deadline has passed.
                events.wait_for_commit().await;
                answer
            });
            if let Some(mut commit) = commit {
                tokio::select! {
                    committed = commit.finish() => committed?,
                    answer = &mut answering => return Ok(answer?),
                }
            }
            tokio::select! {
                answer = answering => Ok(answer?),
                interrupt = active_run.interrupted() => Err(interrupt.into()),
            }
        }
    }

    /// Runs a step's tools and commits them with their results in one transaction.
    async fn run_tools(
        &mut self,
        step: StepRecord,
        calls: &[PlannedCall],
        agent: &Agent,
    ) -> Result<(Vec<RecordedCall>, Option<Box<CommitInFlight<'a>>>), RunFailure> {
        self.events.tools_started(calls).await;
        let started = Instant::now();
        let lease = self.lease;
        mutate_fence!(lease, &self.context.pool);
        let model_time = step_model_time(&step);
        let step = Arc::new(ToolStep::new(
            lease,
            step,
            calls.to_vec(),
            Arc::clone(&agent.tools),
        ));
        let ran = commit_in_flight::run_tools(self.context, Arc::clone(&step), model_time, started).await;
        self.progress.tools_time += started.elapsed();
        match ran {
            Ok((records, None)) => {
                self.events.tools_finished(&records).await;
                Ok((records, None))
            }
            Ok((records, Some(mut commit))) => {
                commit.wake_when_committed(self.events.hold_until_committed(step));
                Ok((records, Some(commit)))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Records a step before its calls are made. Returns true if the run now waits for approval: this worker has no lease then.
    async fn defer(
        &mut self,
        step: StepRecord,
        calls: &[PlannedCall],
        agent: &Agent,
    ) -> Result<bool, RunFailure> {
        let deferred = deferred_step::record(self.context, self.lease, &step, calls, agent).await;
        match deferred {
            Ok(Some(approval)) => {
                let waiting = calls.iter().filter(|call| agent.needs_approval(call));
                self.events.approval_requested(approval, waiting);
                Ok(true)
            }
            Ok(None) => {
                self.progress.has_pending_calls = true;
                Ok(false)
            }
            Err(failure) => {
                // A cancelled run stores the step with its end.
                self.progress.unrecorded_step = matches!(failure, RunFailure::Cancelled).then_some(step);
                Err(failure)
            }
        }
    }

    /// Makes the pending calls of a recorded step.
    async fn run_deferred(
        &mut self,
        step: DeferredStep<'_>,
        active_run: &mut ActiveRun,
    ) -> Result<Vec<RecordedCall>, RunFailure> {
        self.events.tools_started(step.calls).await;
        let started = Instant::now();
        let records = step
            .run(
                self.context,
                self.lease,
                self.deadline,
                &mut self.events,
                active_run,
            )
            .instrument(errand_shared::trace!("tools"))
            .await;
        let took = started.elapsed();
        self.progress.tools_time += took;
        let mut records = records?;
        self.progress.has_pending_calls = false;
        self.context
            .metrics
            .step_finished(step.model_time, &records, took);
        failpoints::hit(Failpoint::StepCommitted);
        records.sort_by_key(|record| step.calls.iter().position(|call| call.id == record.tool_call_id));
        Ok(records)
    }

    /// Notes an answer for its step. An answer that repeats an empty one belongs to the same step, which counts both.
    fn record_answer(&mut self, number: u16, answer: &ModelAnswer, took: Duration) {
        let tokens = |count: u64| i64::try_from(count).unwrap_or(MAX_TOKENS).min(MAX_TOKENS);
        let empty = self.progress.unrecorded_step.take();
        let (used, took_before) = empty.map_or((Usage::default(), 0), |step| (step.usage, step.model_ms));
        let usage = Usage::new(
            tokens(answer.usage.prompt_tokens).saturating_add(used.prompt_tokens),
            tokens(answer.usage.completion_tokens).saturating_add(used.completion_tokens),
        );
        self.progress.unrecorded_step = Some(StepRecord {
            step: deferred_step::step_number(number),
            attempt: self.lease.attempt,
            model: answer.model.clone(),
            content: String::new(),
            usage: usage.estimated(answer.usage.is_estimated || used.is_estimated),
            model_ms: i32::try_from(took.as_millis())
                .unwrap_or(i32::MAX)
                .saturating_add(took_before),
            tools_ms: 0,
            provider_data: None,
        });
    }
}

/// Whether some calls of the last recorded step have results and others do not.
fn is_partly_done(lease: &Lease) -> bool {
    let last = lease.journal.last();
    last.is_some_and(|step| !step.pending.is_empty() && !step.calls.is_empty())
}

fn step_model_time(step: &StepRecord) -> Duration {
    Duration::from_millis(u64::try_from(step.model_ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size in bytes of the future that `function` returns.
    fn future_size<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// 10,000 runs wait for their models at the same time. A future is as large as the largest future that it may await, and
    /// holds its arguments twice.
    #[test]
    fn waiting_run_is_small() {
        let run_loop = future_size(RunDriver::run_loop);
        assert!(run_loop <= 4352, "{run_loop}");
        let execute = future_size(|context, (lease, active_run)| execute(context, lease, active_run));
        assert!(execute <= 2048, "{execute}");
    }
}
