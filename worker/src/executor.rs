//! Drives one run from its claim to its end.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use errand_agent::{Action, AgentRun, ModelAnswer, PlannedCall, Prompt};
use errand_shared::{
    Uuid,
    chat::{ToolCallRecord, Usage},
    db::{
        asked::{self, Closing, Opened},
        claims::{self, Lease},
        finishes::{Ending, Finish},
        steps::{self, CallRecord, StepRecord, with_user_id},
    },
    events::final_seq,
    kill_point::{self, KillPoint},
    metrics::observe,
    run::RunStatus,
};
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    agents::Agent,
    context::Context,
    external::{self, At, ExternalCall},
    failure::{Disposition, RunFailure},
    finisher::{self, Spent},
    in_flight::{Flight, Interrupt},
    metrics::{Attempt, End},
    open_step::{self, Left},
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
    let driven = driven.unwrap_or(Err(RunFailure::Panicked));
    let outcome = match Box::pin(conclude(&context, &lease, drive, driven)).await {
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
        Attempt::Released | Attempt::Retried | Attempt::Parked | Attempt::Stranded => return,
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

/// Where driving a run has led.
enum Driven {
    /// It is to end like this.
    Ended(Ending),
    /// It waits for its user; the lease is given up.
    Parked,
}

/// What has happened in this attempt so far.
struct Drive<'a> {
    context: &'a Context,
    lease: &'a Lease,
    deadline: Instant,
    tool_calls: Vec<ToolCallRecord>,
    /// The model call whose step is not journalled yet.
    open_step: Option<StepRecord>,
    /// Whether there may be a journalled step whose calls are not all made.
    is_left: bool,
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
                    let (model, telling) = (&agent.model, &mut self.telling);
                    let answering = async {
                        let others = agent.others.offers().await;
                        model.ask(messages, &others, self.deadline, telling).await
                    };
                    let answer = tokio::select! {
                        answer = answering => Ok(answer),
                        why = flight.interrupted() => Err(interruption(why)),
                    };
                    let took = asked.elapsed();
                    self.model += took;
                    let answer = answer??;
                    self.open_step = Some(self.step_record(number, &answer, took));
                    run.model_answered(answer);
                }
                Action::CallTools { step: number, calls } => {
                    let is_mended = self.open_step.is_none() && is_partly_done(lease);
                    let records = if let Some(mut step) = self.open_step.take() {
                        run.said().clone_into(&mut step.content);
                        kill_point::reached(KillPoint::ToolsAsked);
                        if calls.iter().any(|call| agent.is_opened_for(call)) {
                            let model = model_time(&step);
                            if self.open(step, calls, agent).await? {
                                return Ok(Driven::Parked);
                            }
                            let left = Left::default();
                            Box::pin(self.make_left(number, calls, agent, &left, model, flight)).await?
                        } else {
                            self.make(step, calls, agent).await?
                        }
                    } else {
                        // The journal has the answer that asked for them.
                        kill_point::reached(KillPoint::CallsLeft);
                        let left = Left::of(lease);
                        let records = self.make_left(number, calls, agent, &left, Duration::ZERO, flight);
                        Box::pin(records).await?
                    };
                    let results = records.iter().map(|record| record.result.to_string()).collect();
                    self.tool_calls
                        .extend(records.into_iter().map(|record| ToolCallRecord {
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
                        self.count(model_time(step), &[], Duration::ZERO);
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

    /// Makes a step's calls and commits them with their results.
    async fn make(
        &mut self,
        step: StepRecord,
        calls: &[PlannedCall],
        agent: &Agent,
    ) -> Result<Vec<CallRecord>, RunFailure> {
        self.telling.tools_started(calls).await;
        let began = Instant::now();
        let Context { steps, pool, .. } = self.context;
        let lease = self.lease;
        #[cfg(feature = "sabotage-fence")]
        let lease = &errand_shared::db::sabotage::unfenced(pool, lease).await;
        let model = model_time(&step);
        let step = ToolStep::new(lease, step, calls.to_vec(), Arc::clone(&agent.tools));
        let records = tool_step::perform(steps, pool, step)
            .instrument(errand_traces::trace!("tools"))
            .await;
        let took = began.elapsed();
        self.tools += took;
        let records = records?;
        self.count(model, &records, took);
        kill_point::reached(KillPoint::StepCommitted);
        self.telling.tools_finished(&records).await;
        Ok(records)
    }

    /// Journals a step before its calls are made. If some of them need the user's consent the run is parked then, and this
    /// worker has no part in it any more. True if so.
    async fn open(
        &mut self,
        step: StepRecord,
        calls: &[PlannedCall],
        agent: &Agent,
    ) -> Result<bool, RunFailure> {
        let Context { pool, settings, .. } = self.context;
        let lease = self.lease;
        #[cfg(feature = "sabotage-fence")]
        let lease = &errand_shared::db::sabotage::unfenced(pool, lease).await;
        let asked = open_step::asked(calls, |call| agent.needs_consent(call));
        let seconds = settings.approval.approval_timeout_seconds.into();
        let opened = asked::open(pool, lease.run_id, lease.token, &step, &asked, seconds).await?;
        match opened {
            Opened::Parked(parked) => {
                kill_point::reached(KillPoint::Parked);
                self.count(model_time(&step), &[], Duration::ZERO);
                let waiting = calls.iter().filter(|call| agent.needs_consent(call));
                self.telling.parked(parked, waiting);
                Ok(true)
            }
            Opened::Open => {
                self.is_left = true;
                Ok(false)
            }
            Opened::CancelRequested => {
                self.open_step = Some(step);
                Err(RunFailure::Cancelled)
            }
            Opened::LeaseLost => Err(RunFailure::LeaseLost),
        }
    }

    /// Makes the calls that are left of a journalled step, if their user consents to them: those of our own tools together,
    /// then those of other people's at the same time. `model` is what the model took over the step, if that is not counted
    /// yet.
    async fn make_left(
        &mut self,
        step: u16,
        calls: &[PlannedCall],
        agent: &Agent,
        left: &Left<'_>,
        model: Duration,
        flight: &mut Flight,
    ) -> Result<Vec<CallRecord>, RunFailure> {
        self.telling.tools_started(calls).await;
        let began = Instant::now();
        let made = self.make_all_left(step_number(step), calls, agent, left, flight);
        let made = made.instrument(errand_traces::trace!("tools")).await;
        let took = began.elapsed();
        self.tools += took;
        let mut records = made?;
        self.is_left = false;
        self.count(model, &records, took);
        kill_point::reached(KillPoint::StepCommitted);
        records.sort_by_key(|record| calls.iter().position(|call| call.id == record.tool_call_id));
        Ok(records)
    }

    async fn make_all_left(
        &mut self,
        step: i16,
        calls: &[PlannedCall],
        agent: &Agent,
        left: &Left<'_>,
        flight: &mut Flight,
    ) -> Result<Vec<CallRecord>, RunFailure> {
        let pool = &self.context.pool;
        let lease = self.lease;
        #[cfg(feature = "sabotage-fence")]
        let lease = &errand_shared::db::sabotage::unfenced(pool, lease).await;
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
            records = open_step::perform(pool, lease, step, &ours, left, &agent.tools).await?;
            self.telling.tools_finished(&records).await;
        }
        let at = At {
            pool,
            lease,
            step,
            left,
            deadline: self.deadline,
        };
        let mut answers = std::pin::pin!(external::perform(at, theirs));
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
    async fn close_left(&self) -> Result<(), sqlx::Error> {
        if !self.is_left {
            return Ok(());
        }
        let Self { context, lease, .. } = self;
        let closing = Closing {
            run_id: lease.run_id,
            token: Some(lease.token),
            final_event_seq: final_seq(lease.epoch),
        };
        asked::close(&context.pool, &[closing]).await
    }

    /// Reads the calls that are journalled, as the run's user sees them.
    async fn read_back(&mut self) -> Result<(), sqlx::Error> {
        let Self { context, lease, .. } = self;
        self.tool_calls = steps::calls_of(&context.pool, lease.run_id, lease.user_id).await?;
        Ok(())
    }

    /// Counts a step and its calls, for which model and tools took so long.
    fn count(&self, model: Duration, calls: &[CallRecord], tools: Duration) {
        let metrics = &self.context.metrics;
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
    last.is_some_and(|step| !step.asked.is_empty() && !step.calls.is_empty())
}

/// A step's number as the journal has it. The agent's bounds keep it small.
fn step_number(number: u16) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

/// How long the model took over a step.
fn model_time(step: &StepRecord) -> Duration {
    Duration::from_millis(u64::try_from(step.model_ms).unwrap_or_default())
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
    driven: Result<Driven, RunFailure>,
) -> Result<Attempt, sqlx::Error> {
    #[cfg(feature = "sabotage-fence")]
    let lease = &errand_shared::db::sabotage::unfenced(&context.pool, lease).await;
    let ending = match driven {
        Ok(Driven::Ended(ending)) => ending,
        Ok(Driven::Parked) => return Ok(Attempt::Parked),
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
                    drive.close_left().await?;
                    // The step that told of the cancel was committed with its calls; read them back for the answer.
                    drive.read_back().await?;
                    Ending::Cancelled
                }
                Disposition::Fail(reason) => {
                    drive.close_left().await?;
                    // Without a reply nothing else shows that a crash of Postgres has lost a step.
                    if drive.is_left || !drive.tool_calls.is_empty() {
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
