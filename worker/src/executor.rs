//! Drives one run from its claim to its end.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use errand_agent::{Action, AgentRun, ModelAnswer, PlannedCall, Prompt};
use errand_shared::{
    Uuid,
    chat::{ToolCallRecord, Usage},
    db::{
        claims::{self, Lease},
        finishes::{Ending, Finish},
        steps::{self, CallRecord, StepRecord, with_user_id},
    },
    events::final_seq,
    kill_point::{self, KillPoint},
    metrics::observe,
    run::RunStatus,
};
use futures::FutureExt;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    context::Context,
    failure::{Disposition, RunFailure},
    finisher::{self, Spent},
    in_flight::{Flight, Interrupt},
    metrics::{Attempt, End},
    telling::Telling,
    tool_step::{self, ToolStep},
    transcript,
};

/// Drives a run. Whatever happens, it is ended, handed back, or left to whom it belongs by then.
pub(crate) async fn execute(context: Arc<Context>, lease: Lease, flight: Flight) {
    let log = tracing::info_span!(
        "run",
        run.id = %lease.run_id,
        run.attempt = lease.attempt,
        conversation.id = %lease.conversation_id,
        request.id = lease.origin.request_id.as_deref(),
    );
    let traced = errand_traces::trace!(
        "run",
        otel.kind = "consumer",
        run.id = %lease.run_id,
        run.attempt = lease.attempt,
        conversation.id = %lease.conversation_id,
    );
    errand_traces::adopt(&traced, lease.origin.traceparent.as_deref());
    drive(context, lease, flight)
        .instrument(traced)
        .instrument(log)
        .await;
}

async fn drive(context: Arc<Context>, lease: Lease, mut flight: Flight) {
    let metrics = &context.metrics;
    observe(&metrics.start_delay, flight.since().elapsed());
    let mut drive = Drive::new(&context, &lease, &flight);
    // On the heap, and only as long as it lasts: ten thousand of them wait for their models.
    let driven = AssertUnwindSafe(Box::pin(drive.until_the_reply(&mut flight)))
        .catch_unwind()
        .await;
    let ending = match driven {
        Ok(Ok(ending)) => Ok(ending),
        Ok(Err(failure)) => Err(failure),
        Err(_panic) => Err(RunFailure::Panicked),
    };
    let outcome = match Box::pin(conclude(&context, &lease, drive, ending)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(run.id = %lease.run_id, %error, "the run could not be concluded");
            if let Err(error) = give_up(&context, &lease, error).await {
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
        Attempt::Released | Attempt::Retried | Attempt::Stranded => return,
    };
    observe(&metrics.responses.of(end), lease.age() + took);
}

/// What becomes of a run whose conclusion Postgres did not take: with Postgres away it is left to reconciliation; what
/// Postgres refused counts as a fault of the run, so that it does not ask the model for ever.
async fn give_up(context: &Context, lease: &Lease, error: sqlx::Error) -> Result<(), sqlx::Error> {
    let failure = RunFailure::Database(error);
    let error = failure.to_string();
    match failure.disposition(lease.failures, context.settings.run.run_max_attempts) {
        Disposition::Retry(delay) => release(context, lease, Some(&error), delay).await,
        Disposition::Fail(reason) => {
            let finish = Finish {
                run_id: lease.run_id,
                token: Some(lease.token),
                final_event_seq: final_seq(lease.epoch),
                ending: Ending::Failed { reason, error },
                last_step: None,
            };
            finisher::finish_strays(context, &[finish]).await.map(drop)
        }
        Disposition::Release | Disposition::Cancel | Disposition::Drop => Ok(()),
    }
}

/// Tokens of one call that are believed, at most: sums of them stay far from the limits of a 64-bit number.
const MOST_TOKENS: i64 = 1_000_000_000_000;

/// What has happened in this attempt so far.
struct Drive<'a> {
    context: &'a Context,
    lease: &'a Lease,
    deadline: Instant,
    tool_calls: Vec<ToolCallRecord>,
    /// The model call whose step is not journalled yet.
    open_step: Option<StepRecord>,
    /// How long the model has taken.
    model: Duration,
    /// How long the tools have taken.
    tools: Duration,
    telling: Telling<'a>,
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
            model: Duration::ZERO,
            tools: Duration::ZERO,
            telling: Telling::new(context, lease, flight),
        }
    }

    async fn until_the_reply(&mut self, flight: &mut Flight) -> Result<Ending, RunFailure> {
        if self.lease.cancel_requested {
            return Err(RunFailure::Cancelled);
        }
        self.telling.started().await;
        let lease = self.lease;
        let agents = &self.context.agents;
        let agent = agents
            .find(lease.agent.as_deref())
            .ok_or(RunFailure::NoSuchAgent)?;
        let prompt = Prompt {
            user_name: lease.user_name.clone(),
            today: lease.now.format("%A, %-d %B %Y").to_string(),
            instructions: agent.instructions.clone(),
        };
        let mut run = AgentRun::new(
            agent.limits,
            &prompt,
            transcript::history(lease.history.clone()),
            lease.message.clone(),
            transcript::journal(&lease.journal),
        );
        loop {
            match run.next() {
                Action::CallModel { messages } => {
                    let number = run.step();
                    let asked = Instant::now();
                    let answer = tokio::select! {
                        answer = agent.model.ask(messages, self.deadline, &mut self.telling) => Ok(answer),
                        why = flight.interrupted() => Err(interruption(why)),
                    };
                    let took = asked.elapsed();
                    self.model += took;
                    let answer = answer??;
                    self.open_step = Some(self.step_record(number, &answer, took));
                    run.model_answered(answer);
                }
                Action::CallTools { calls, .. } => {
                    let Some(mut step) = self.open_step.take() else {
                        // The loop asks for tools only after an answer.
                        return Err(RunFailure::Panicked);
                    };
                    run.said().clone_into(&mut step.content);
                    kill_point::reached(KillPoint::ToolsAsked);
                    self.telling.tools_started(calls).await;
                    let began = Instant::now();
                    let records = self
                        .make(step.clone(), calls.to_vec(), Arc::clone(&agent.tools))
                        .instrument(errand_traces::trace!("tools"))
                        .await;
                    let took = began.elapsed();
                    self.tools += took;
                    let records = records?;
                    self.count(&step, &records, took);
                    kill_point::reached(KillPoint::StepCommitted);
                    self.telling.tools_finished(&records).await;
                    let results = records.iter().map(|record| record.result.to_string()).collect();
                    self.tool_calls
                        .extend(records.into_iter().map(|record| ToolCallRecord {
                            tool_call_id: record.tool_call_id,
                            tool_name: record.tool_name,
                            arguments: with_user_id(&record.arguments, lease.user_id),
                            result: record.result,
                        }));
                    run.tools_finished(results);
                }
                Action::Reply { text } => {
                    if let Some(step) = &self.open_step {
                        self.count(step, &[], Duration::ZERO);
                    }
                    self.telling.replied(text).await;
                    return Ok(Ending::Succeeded {
                        message_id: Uuid::now_v7(),
                        content: text.to_owned(),
                        tool_calls: serde_json::to_value(&self.tool_calls)
                            .map_err(|error| RunFailure::Database(sqlx::Error::Encode(error.into())))?,
                    });
                }
                Action::Fail(failure) => return Err(RunFailure::Agent(*failure)),
            }
        }
    }

    /// Makes a step's calls and commits them with their results.
    async fn make(
        &self,
        step: StepRecord,
        calls: Vec<PlannedCall>,
        tools: Arc<[&'static str]>,
    ) -> Result<Vec<CallRecord>, RunFailure> {
        let Context { steps, pool, .. } = self.context;
        let lease = self.lease;
        #[cfg(feature = "sabotage-fence")]
        let lease = &errand_shared::db::sabotage::unfenced(pool, lease).await;
        tool_step::perform(steps, pool, ToolStep::new(lease, step, calls, tools)).await
    }

    /// Reads the calls that are journalled, as the run's user sees them.
    async fn read_back(&mut self) -> Result<(), sqlx::Error> {
        let Self { context, lease, .. } = self;
        self.tool_calls = steps::calls_of(&context.pool, lease.run_id, lease.user_id).await?;
        Ok(())
    }

    /// Counts a step and its calls, which took so long.
    fn count(&self, step: &StepRecord, calls: &[CallRecord], tools: Duration) {
        let metrics = &self.context.metrics;
        let model = Duration::from_millis(u64::try_from(step.model_ms).unwrap_or_default());
        observe(&metrics.step_duration, model + tools);
        if calls.is_empty() {
            return;
        }
        observe(&metrics.tools_duration, tools);
        for call in calls {
            metrics.tool_called(&call.tool_name, call.success);
        }
    }

    fn step_record(&self, number: u16, answer: &ModelAnswer, took: Duration) -> StepRecord {
        let tokens = |count: u64| i64::try_from(count).unwrap_or(MOST_TOKENS).min(MOST_TOKENS);
        StepRecord {
            step: i16::try_from(number).unwrap_or(i16::MAX),
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

const fn interruption(why: Interrupt) -> RunFailure {
    match why {
        Interrupt::Cancelled => RunFailure::Cancelled,
        Interrupt::Stopping => RunFailure::Stopping,
        Interrupt::LeaseLost | Interrupt::None => RunFailure::LeaseLost,
    }
}

/// Ends the run, hands it back or drops it.
async fn conclude(
    context: &Context,
    lease: &Lease,
    mut drive: Drive<'_>,
    driven: Result<Ending, RunFailure>,
) -> Result<Attempt, sqlx::Error> {
    #[cfg(feature = "sabotage-fence")]
    let lease = &errand_shared::db::sabotage::unfenced(&context.pool, lease).await;
    let ending = match driven {
        Ok(ending) => ending,
        Err(failure) => {
            let disposition = failure.disposition(lease.failures, context.settings.run.run_max_attempts);
            tracing::warn!(run.id = %lease.run_id, run.attempt = lease.attempt, %failure, ?disposition, "an attempt ended");
            context.metrics.failures.of(failure.kind()).inc();
            match disposition {
                Disposition::Drop => return Ok(Attempt::Lost),
                Disposition::Release => {
                    release(context, lease, None, Duration::ZERO).await?;
                    return Ok(Attempt::Released);
                }
                Disposition::Retry(delay) => {
                    release(context, lease, Some(&failure.to_string()), delay).await?;
                    return Ok(Attempt::Retried);
                }
                Disposition::Cancel => {
                    // The step that told of the cancel was committed with its calls; read them back for the answer.
                    drive.read_back().await?;
                    Ending::Cancelled
                }
                Disposition::Fail(reason) => {
                    // Without a reply nothing else shows that a crash of Postgres has lost a step.
                    if !drive.tool_calls.is_empty() {
                        drive.read_back().await?;
                    }
                    Ending::Failed {
                        reason,
                        error: failure.to_string(),
                    }
                }
            }
        }
    };
    let finish = Finish {
        run_id: lease.run_id,
        token: Some(lease.token),
        final_event_seq: final_seq(lease.epoch),
        ending,
        last_step: drive.open_step,
    };
    let spent = Spent {
        queue: lease.age(),
        model: drive.model,
        tools: drive.tools,
    };
    let ended = finisher::finish(context, finish, drive.tool_calls, spent)
        .instrument(errand_traces::trace!("finish"))
        .await?;
    Ok(match ended {
        Some(RunStatus::Succeeded) => Attempt::Succeeded,
        Some(RunStatus::Cancelled) => Attempt::Cancelled,
        Some(_) => Attempt::Failed,
        None => {
            tracing::warn!(run.id = %lease.run_id, "the lease was lost before the end");
            Attempt::Lost
        }
    })
}

async fn release(
    context: &Context,
    lease: &Lease,
    failed: Option<&str>,
    delay: Duration,
) -> Result<(), sqlx::Error> {
    let released = claims::release(
        &context.pool,
        lease.run_id,
        lease.token,
        failed,
        delay.as_secs_f64(),
    )
    .await?;
    if let Some(queued) = released {
        context.tell_queued(&queued);
        if delay.is_zero() {
            context.notifier.ring(lease.user_id, lease.run_id);
        }
    }
    Ok(())
}
