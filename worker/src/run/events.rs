//! Tells the events of one run under its lease, and sees to it that a reader's text is always that of the model.
//!
//! Nothing is told by a worker that may have lost its lease. Text costs next to nothing while nobody reads: it is only
//! told from where the log ends once somebody does.

use std::{borrow::Cow, sync::Arc};

use errand_agent::PlannedCall;
use errand_shared::{
    domain::events::{EVENTS_PER_EPOCH, Event, EventData, ROOM_AFTER_LOSS, requested_seq, started_seq},
    signals::{
        delivery::{DeliveryState, HasSubscribers},
        notifier::EventSource,
        wire::AwaitingApproval,
    },
    storage::{
        journal::{
            pending_calls::ApprovalWait,
            steps::{RecordedCall, with_user_id},
        },
        queue::claims::{self, Lease},
    },
};
use tokio::time::{Instant, sleep_until};

use super::step_transaction::ToolStep;
use crate::{context::Context, queue::run_registry::Flight};

/// Numbers left at the end of an epoch for its final event and for what a reader tells before it.
const LAST_NUMBERS: i64 = 16;

/// The teller of one run.
pub(crate) struct Telling<'a> {
    context: &'a Context,
    lease: &'a Lease,
    teller: EventSource,
    /// Number of the next event.
    seq: i64,
    /// When the lease was last known to hold by other means than the heartbeat.
    vouched: Instant,
    /// Bytes of the model's current answer that the log has.
    told: usize,
    /// Whether the log's text is another than the beginning of the current answer.
    stale: bool,
    /// Whether the log is gone.
    lost: bool,
    /// Whether the lease is: nothing more is told.
    silent: bool,
    /// The last answer as the log has it in full.
    shown: Option<String>,
    last_text: Option<Instant>,
    due: Option<Instant>,
    /// A step that is being committed: nothing that follows from it is told before that.
    held_by: Option<Arc<ToolStep>>,
}

impl<'a> Telling<'a> {
    /// A teller of a run in flight.
    pub(crate) fn new(context: &'a Context, lease: &'a Lease, flight: &Flight) -> Self {
        Self {
            context,
            lease,
            teller: EventSource {
                user_id: lease.user_id,
                delivery: Arc::clone(flight.feedback()),
            },
            seq: started_seq(lease.epoch),
            vouched: flight.vouched(),
            told: 0,
            stale: false,
            lost: false,
            silent: false,
            shown: None,
            last_text: None,
            due: None,
            held_by: None,
        }
    }

    /// The run begins, or begins again: then what an earlier attempt has said is taken back first.
    pub(crate) async fn started(&mut self) {
        if !self.may_tell().await {
            return;
        }
        self.tell(EventData::Started {}, true);
        if self.lease.attempt > 1 {
            self.tell(EventData::Reset { text: "".into() }, false);
        }
    }

    /// The model is asked, or asked again: what it says now takes the place of what it said before.
    pub(crate) fn answer_begins(&mut self) {
        self.stale |= self.told > 0;
        self.told = 0;
        self.shown = None;
        self.due = None;
    }

    /// What follows is held back until this step is committed and what it did is told. Gives what to wake by
    /// [`DeliveryState::stir`] then.
    pub(crate) fn hold(&mut self, step: Arc<ToolStep>) -> Arc<DeliveryState> {
        self.held_by = Some(step);
        Arc::clone(&self.teller.delivery)
    }

    /// Waits until nothing is held back any more. For ever, if the step fails: there is nothing to tell then.
    pub(crate) async fn settle(&mut self) {
        if let Some(step) = self.held_by.clone() {
            // On the heap: who waits for the model holds room for this.
            Box::pin(async {
                let calls = step.committed().await;
                self.held_by = None;
                self.tools_finished(calls).await;
            })
            .await;
        }
    }

    /// The answer has grown to this. Its first words are told at once, later ones when [`Self::due`] says so.
    pub(crate) async fn heard(&mut self, content: &str) {
        self.settle().await;
        // While Redis has not said yet whether anybody reads, its answer is not far: it makes these words due.
        if self.due.is_some() || self.watched() != HasSubscribers::Yes {
            return;
        }
        let interval = self.context.settings.delta_interval_ms;
        match self.last_text {
            Some(last) if last.elapsed() < interval => self.due = Some(last + interval),
            _ => self.tell_text(content).await,
        }
    }

    /// Ends when [`Self::attend`] has something to do.
    pub(crate) async fn due(&self) {
        let due = async {
            match self.due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = self.teller.delivery.changed() => {}
        }
    }

    /// Tells what of the answer is due, or all that a reader or a lost log lacks.
    pub(crate) async fn attend(&mut self, content: &str) {
        self.due = None;
        match self.held_by.as_ref().map(|step| step.is_committed()) {
            // The commit stirs whoever attends.
            Some(false) => return,
            Some(true) => self.settle().await,
            None => {}
        }
        if self.teller.delivery.take_stale() {
            self.stale = true;
        }
        if self.watched() == HasSubscribers::Yes {
            self.tell_text(content).await;
        }
    }

    /// The answer is this, in full.
    pub(crate) async fn answered(&mut self, content: &str) {
        self.settle().await;
        self.due = None;
        if self.watched() == HasSubscribers::No {
            return;
        }
        self.tell_text(content).await;
        if !self.stale && self.told == content.len() {
            self.shown = Some(clean(content).into_owned());
        }
    }

    /// The run ends with this reply, which may differ from what the model said.
    pub(crate) async fn replied(&mut self, reply: &str) {
        if self.watched() == HasSubscribers::No
            || self.shown.as_deref() == Some(reply)
            || !self.may_tell().await
        {
            return;
        }
        let data = match self.shown.as_deref().and_then(|shown| reply.strip_prefix(shown)) {
            Some(rest) => EventData::Delta { text: rest.into() },
            None => EventData::Reset { text: reply.into() },
        };
        self.tell(data, false);
    }

    /// Tools are about to be called.
    pub(crate) async fn tools_started(&mut self, calls: &[PlannedCall]) {
        if !self.may_tell().await {
            return;
        }
        for call in calls {
            let arguments = with_user_id(&call.journal_arguments(), self.lease.user_id);
            let data = EventData::ToolStarted {
                tool_call_id: Cow::Borrowed(&call.id),
                tool_name: Cow::Borrowed(&call.name),
                arguments: Cow::Owned(arguments),
            };
            self.tell(data, false);
        }
    }

    /// Tools were called, and what they did is committed.
    pub(crate) async fn tools_finished(&mut self, calls: &[RecordedCall]) {
        if !self.may_tell().await {
            return;
        }
        for call in calls {
            let arguments = with_user_id(&call.arguments, self.lease.user_id);
            let data = EventData::ToolFinished {
                tool_call_id: Cow::Borrowed(&call.tool_call_id),
                tool_name: Cow::Borrowed(&call.tool_name),
                arguments: Cow::Owned(arguments),
                result: Cow::Borrowed(&call.result),
                success: call.success,
            };
            self.tell(data, false);
        }
    }

    /// The run is parked until its user has decided about these calls. What is told here is of the epoch in which it waits;
    /// the log refuses it once somebody has taken the run up.
    pub(crate) fn parked<'c>(&self, parked: ApprovalWait, calls: impl Iterator<Item = &'c PlannedCall>) {
        for call in calls {
            let arguments = with_user_id(&call.journal_arguments(), self.lease.user_id);
            let event = Event {
                seq: requested_seq(parked.epoch, i16::try_from(call.index).unwrap_or(i16::MAX)),
                run_id: self.lease.run_id,
                conversation_id: self.lease.conversation_id,
                attempt: self.lease.attempt,
                at: self.context.clock.now(),
                data: EventData::ApprovalRequested {
                    tool_call_id: Cow::Borrowed(&call.id),
                    tool_name: Cow::Borrowed(&call.name),
                    arguments: Cow::Owned(arguments),
                    expires_at: parked.expires_at,
                },
            };
            self.context.notifier.publish(&self.teller, &event, true);
        }
        self.context.notifier.publish_awaiting_approval(AwaitingApproval {
            run_id: self.lease.run_id,
            epoch: parked.epoch,
        });
    }

    fn watched(&self) -> HasSubscribers {
        self.teller.delivery.has_subscribers()
    }

    async fn tell_text(&mut self, content: &str) {
        if !self.may_tell().await {
            return;
        }
        if self.lost && !self.holds().await {
            return;
        }
        let data = if self.stale || self.lost {
            EventData::Reset { text: clean(content) }
        } else {
            match content.get(self.told..) {
                Some(rest) if !rest.is_empty() => EventData::Delta { text: clean(rest) },
                _ => return,
            }
        };
        if self.lost {
            self.seq += ROOM_AFTER_LOSS;
        }
        self.tell(data, self.lost);
        self.lost = false;
        self.stale = false;
        self.told = content.len();
        self.last_text = Some(Instant::now());
    }

    fn tell(&mut self, data: EventData<'_>, begin: bool) {
        if self.seq >= (i64::from(self.lease.epoch) + 1) * EVENTS_PER_EPOCH - LAST_NUMBERS {
            return;
        }
        let event = Event {
            seq: self.seq,
            run_id: self.lease.run_id,
            conversation_id: self.lease.conversation_id,
            attempt: self.lease.attempt,
            at: self.context.clock.now(),
            data,
        };
        self.seq += 1;
        self.context.notifier.publish(&self.teller, &event, begin);
    }

    /// Whether this worker may tell anything of the run. The heartbeat vouches for its leases; one that may have slept
    /// through its own death asks.
    async fn may_tell(&mut self) -> bool {
        let delivery = &self.teller.delivery;
        self.lost |= delivery.take_log_missing();
        self.silent |= delivery.is_closed();
        if self.silent {
            return false;
        }
        let dead_after = self.context.settings.liveness.worker_dead_after_ms;
        let age = |since: Instant| since.elapsed() < dead_after;
        age(self.vouched) || self.context.last_beat().is_some_and(age) || self.holds().await
    }

    /// Asks Postgres whether the lease holds. With no answer nothing is told, and the log is no longer trusted.
    async fn holds(&mut self) -> bool {
        let began = Instant::now();
        match claims::is_held(&self.context.pool, self.lease.run_id, self.lease.token).await {
            Ok(true) => self.vouched = began,
            Ok(false) => self.silent = true,
            Err(error) => {
                tracing::debug!(%error, run.id = %self.lease.run_id, "events are held back");
                self.stale = true;
                return false;
            }
        }
        !self.silent
    }
}

/// As the reply is stored: Postgres takes no U+0000.
fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', ""))
    } else {
        Cow::Borrowed(text)
    }
}
