//! Drives one run from its claim to its end.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use errand_agent::{Action, AgentRun, Message, ModelAnswer, Prompt};
use errand_shared::{
    Uuid,
    domain::chat::{ToolCallView, Usage},
    service::{
        failpoints::{self, Failpoint},
        metrics::observe,
    },
    storage::{
        journal::steps::{StepRecord, with_user_id},
        queue::claims::Lease,
        runs::finish::Ending,
    },
};
use futures::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    commit_in_flight::{Committing, count, model_time, step_number},
    conclusion::{conclude, give_up},
    deferred_step::Left,
    events::Telling,
    failure::RunFailure,
    transcript,
};
use crate::{
    agents::Agent,
    context::Context,
    metrics::{Attempt, End},
    queue::run_registry::{Flight, Interrupt},
};

/// Drives a run. Whatever happens, it is ended, handed back, or left to whom it belongs by then.
pub(crate) fn execute(context: Arc<Context>, lease: Lease, flight: Flight) -> impl Future<Output = ()> {
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
    drive(context, lease, flight).instrument(traced).instrument(log)
}

async fn drive(context: Arc<Context>, lease: Lease, mut flight: Flight) {
    let metrics = &context.metrics;
    observe(&metrics.start_delay, flight.since().elapsed());
    let mut drive = Drive::new(&context, &lease, &flight);
    // On the heap, and only as long as it lasts, as is what follows: ten thousand of them wait for their models, and a future
    // is as large as the largest of what it may come to wait for.
    let driven = AssertUnwindSafe(Box::pin(drive.until_the_reply(&mut flight)))
        .catch_unwind()
        .await;
    let driven = driven.unwrap_or(Err(RunFailure::Panicked));
    let outcome = match Box::pin(conclude(&context, &lease, drive, driven)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(run.id = %lease.run_id, %error, "the run could not be concluded");
            if let Err(error) = Box::pin(give_up(&context, &lease, error)).await {
                tracing::warn!(run.id = %lease.run_id, %error, "it will be handed back by reconciliation");
            }
            Attempt::Stranded
        }
    };
    let took = flight.since().elapsed();
    observe(&metrics.attempts.of(outcome), took);
    let end = match outcome {
        Attempt::Succeeded => End::Succeeded,
        Attempt::Failed => End::Failed,
        Attempt::Cancelled => End::Cancelled,
        Attempt::Lost => {
            metrics.leases_lost.inc();
            return;
        }
        Attempt::Released | Attempt::Retried | Attempt::Parked | Attempt::Stranded => return,
    };
    observe(&metrics.responses.of(end), lease.age() + took);
}

/// Tokens of one call that are believed, at most: sums of them stay far from the limits of a 64-bit number.
const MOST_TOKENS: i64 = 1_000_000_000_000;

/// Where driving a run has led.
pub(super) enum Driven {
    /// It is to end like this.
    Ended(Ending),
    /// It waits for its user; the lease is given up.
    Parked,
}

/// What has happened in this attempt so far.
pub(super) struct Drive<'a> {
    pub(super) context: &'a Context,
    pub(super) lease: &'a Lease,
    pub(super) deadline: Instant,
    pub(super) tool_calls: Vec<ToolCallView>,
    /// The model call whose step is not journalled yet.
    pub(super) open_step: Option<StepRecord>,
    /// Whether there may be a journalled step whose calls are not all made.
    pub(super) is_left: bool,
    /// How long the model has taken.
    pub(super) model: Duration,
    /// How long the tools have taken.
    pub(super) tools: Duration,
    pub(super) telling: Telling<'a>,
}

impl<'a> Drive<'a> {
    fn new(context: &'a Context, lease: &'a Lease, flight: &Flight) -> Self {
        let left = (lease.deadline_at - lease.now).to_std().unwrap_or(Duration::ZERO);
        Self {
            context,
            lease,
            deadline: Instant::now() + left,
            tool_calls: transcript::records(&lease.journal, lease.user_id),
            open_step: None,
            is_left: !Left::of(lease).is_empty(),
            model: Duration::ZERO,
            tools: Duration::ZERO,
            telling: Telling::new(context, lease, flight),
        }
    }

    async fn until_the_reply(&mut self, flight: &mut Flight) -> Result<Driven, RunFailure> {
        if self.lease.cancel_requested {
            return Err(RunFailure::Cancelled);
        }
        self.telling.started().await;
        let lease = self.lease;
        let agents = &self.context.agents;
        let agent = agents
            .find(lease.agent.as_deref())
            .ok_or(RunFailure::NoSuchAgent)?;
        let today = || lease.now.format("%A, %-d %B %Y").to_string();
        let mut run = AgentRun::new(
            agent.limits,
            Prompt::new(&lease.user_name, &today(), agent.instructions.clone()),
            transcript::history(lease.history.clone()),
            lease.message.clone(),
            transcript::journal(&lease.journal),
        );
        // The last step, if the model is asked before it is committed.
        let mut committing = None;
        loop {
            match run.next() {
                Action::CallModel { messages } => {
                    let number = run.step();
                    let asked = Instant::now();
                    let answer = self.ask(messages, agent, committing.take(), flight).await;
                    let took = asked.elapsed();
                    self.model += took;
                    let answer = answer?;
                    self.open_step = Some(self.step_record(number, &answer, took));
                    run.model_answered(answer);
                }
                Action::CallTools { step: number, calls } => {
                    let is_mended = self.open_step.is_none() && is_partly_done(lease);
                    let records = if let Some(mut step) = self.open_step.take() {
                        run.said().clone_into(&mut step.content);
                        failpoints::hit(Failpoint::ToolsRequested);
                        if calls.iter().any(|call| agent.is_opened_for(call)) {
                            let model = model_time(&step);
                            if self.open(step, calls, agent).await? {
                                return Ok(Driven::Parked);
                            }
                            let left = Left::default();
                            Box::pin(self.make_left(number, calls, agent, &left, model, flight)).await?
                        } else {
                            let (records, going_on) = Box::pin(self.make(step, calls, agent)).await?;
                            committing = going_on;
                            records
                        }
                    } else {
                        // The journal has the answer that asked for them.
                        failpoints::hit(Failpoint::PendingCallsLoaded);
                        let left = Left::of(lease);
                        let records = self.make_left(number, calls, agent, &left, Duration::ZERO, flight);
                        Box::pin(records).await?
                    };
                    let results = records.iter().map(|record| record.result.to_string()).collect();
                    self.tool_calls
                        .extend(records.into_iter().map(|record| ToolCallView {
                            tool_call_id: record.tool_call_id,
                            tool_name: record.tool_name,
                            arguments: with_user_id(&record.arguments, lease.user_id),
                            result: record.result,
                        }));
                    if is_mended {
                        // Some of the step's calls had results before, and those are in another order then.
                        self.read_back().await?;
                    }
                    run.tools_finished(results);
                }
                Action::Reply { text } => {
                    if let Some(step) = &self.open_step {
                        count(self.context, model_time(step), &[], Duration::ZERO);
                    }
                    self.telling.replied(text).await;
                    return Ok(Driven::Ended(Ending::Succeeded {
                        message_id: Uuid::now_v7(),
                        content: text.to_owned(),
                        tool_calls: serde_json::to_value(&self.tool_calls)
                            .map_err(|error| RunFailure::Database(sqlx::Error::Encode(error.into())))?,
                    }));
                }
                Action::Fail(failure) => return Err(RunFailure::Agent(*failure)),
            }
        }
    }

    /// Asks the model, while the step before may still be being committed. Gives no answer before that is.
    fn ask(
        &mut self,
        messages: &[Message],
        agent: &Agent,
        committing: Option<Box<Committing<'_>>>,
        flight: &mut Flight,
    ) -> impl Future<Output = Result<ModelAnswer, RunFailure>> {
        let (context, deadline, telling) = (self.context, self.deadline, &mut self.telling);
        async move {
            let mut answering = pin!(async {
                if !agent.others.is_empty() {
                    // Their servers may have to be waited for.
                    telling.settle().await;
                }
                let others = agent.others.offers().await;
                let answer = agent.model.ask(messages, &others, deadline, telling).await;
                // At the deadline nothing has waited for the step yet.
                telling.settle().await;
                answer
            });
            if let Some(mut step) = committing {
                tokio::select! {
                    committed = step.end(context) => committed?,
                    answer = &mut answering => return Ok(answer?),
                }
            }
            tokio::select! {
                answer = answering => Ok(answer?),
                why = flight.interrupted() => Err(interruption(why)),
            }
        }
    }

    fn step_record(&self, number: u16, answer: &ModelAnswer, took: Duration) -> StepRecord {
        let tokens = |count: u64| i64::try_from(count).unwrap_or(MOST_TOKENS).min(MOST_TOKENS);
        StepRecord {
            step: step_number(number),
            attempt: self.lease.attempt,
            model: answer.model.clone(),
            content: String::new(),
            usage: Usage::new(
                tokens(answer.usage.prompt_tokens),
                tokens(answer.usage.completion_tokens),
            ),
            model_ms: i32::try_from(took.as_millis()).unwrap_or(i32::MAX),
            tools_ms: 0,
        }
    }
}

/// Whether some of the last step's calls were made and others are left.
fn is_partly_done(lease: &Lease) -> bool {
    let last = lease.journal.last();
    last.is_some_and(|step| !step.pending.is_empty() && !step.calls.is_empty())
}

pub(super) const fn interruption(why: Interrupt) -> RunFailure {
    match why {
        Interrupt::Cancelled => RunFailure::Cancelled,
        Interrupt::Stopping => RunFailure::Stopping,
        Interrupt::LeaseLost | Interrupt::None => RunFailure::LeaseLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of what the future holds while it waits, on the heap or not.
    fn held<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand of them wait for their models. A future is as large as the largest of what it may come to wait for, and holds
    /// twice what it is handed by value.
    #[test]
    fn a_run_that_waits_is_small() {
        let driving = held(Drive::until_the_reply);
        assert!(driving <= 4352, "{driving}");
        let around = held(|context, (lease, flight)| execute(context, lease, flight));
        assert!(around <= 2048, "{around}");
    }
}
