//! Publishes the events of one run: what subscribers see while the run executes.
//!
//! Two rules: a worker that may have lost the run's lease publishes nothing; and the text that subscribers see always equals what the
//! model has said. Text is published only while the user has subscribers: without them, a run sends no text to Redis.

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

use super::{commit_in_flight::CommitGate, step_transaction::ToolStep};
use crate::{context::Context, model::AnswerSink, queue::run_registry::ActiveRun};

/// Sequence numbers at the end of an epoch that are reserved for its final event and for events that an API publishes before it.
const RESERVED_NUMBERS: i64 = 16;

/// Publishes the events of one attempt.
pub(crate) struct EventEmitter<'a> {
    context: &'a Context,
    lease: &'a Lease,
    source: EventSource,
    /// The sequence number of the next event.
    seq: i64,
    /// When the lease was last known to be held, apart from heartbeats.
    lease_checked_at: Instant,
    /// Bytes of the current answer that are in the event log.
    published: usize,
    /// Whether the text in the log is not a prefix of the current answer.
    is_stale: bool,
    /// Whether Redis has lost the log.
    is_log_missing: bool,
    /// Whether the lease is lost: nothing more is published.
    is_closed: bool,
    /// The last answer, if the log contains all of it.
    published_answer: Option<String>,
    last_text_at: Option<Instant>,
    flush_at: Option<Instant>,
    gate: CommitGate,
}

impl<'a> EventEmitter<'a> {
    pub(crate) fn new(context: &'a Context, lease: &'a Lease, active_run: &ActiveRun) -> Self {
        Self {
            context,
            lease,
            source: EventSource {
                user_id: lease.user_id,
                delivery: Arc::clone(active_run.delivery()),
            },
            seq: started_seq(lease.epoch),
            lease_checked_at: active_run.lease_checked_at(),
            published: 0,
            is_stale: false,
            is_log_missing: false,
            is_closed: false,
            published_answer: None,
            last_text_at: None,
            flush_at: None,
            gate: CommitGate::default(),
        }
    }

    /// The attempt starts. The text of an earlier attempt is withdrawn.
    pub(crate) async fn started(&mut self) {
        if !self.may_publish().await {
            return;
        }
        self.publish(EventData::Started {}, true);
        if self.lease.attempt > 1 {
            self.publish(EventData::Reset { text: "".into() }, false);
        }
    }

    /// Holds all further events back until `step` is committed; its results are published first. Returns what must be woken with
    /// [`DeliveryState::wake`] after the commit.
    pub(super) fn hold_until_committed(&mut self, step: Arc<ToolStep>) -> Arc<DeliveryState> {
        self.gate.close(step);
        Arc::clone(&self.source.delivery)
    }

    /// Waits until no event is held back. If the commit fails, this never returns, because there is nothing to publish then.
    pub(crate) async fn wait_for_commit(&mut self) {
        if let Some(step) = self.gate.step() {
            // Boxed: every run that waits for its model would reserve space for this future.
            Box::pin(async {
                let results = step.committed_results().await;
                self.gate.open();
                self.tools_finished(results).await;
            })
            .await;
        }
    }

    /// The model is called, or called again: its answer replaces what it said before.
    pub(crate) fn on_start(&mut self) {
        self.is_stale |= self.published > 0;
        self.published = 0;
        self.published_answer = None;
        self.flush_at = None;
    }

    /// The answer has grown to `content`. Its first words are published immediately, later ones when [`Self::flush_due`] returns.
    pub(crate) async fn on_delta(&mut self, content: &str) {
        self.wait_for_commit().await;
        // Redis may not have replied yet whether there are subscribers. Its reply makes these words due.
        if self.flush_at.is_some() || self.has_subscribers() != HasSubscribers::Yes {
            return;
        }
        let interval = self.context.settings.delta_interval_ms;
        match self.last_text_at {
            Some(last) if last.elapsed() < interval => self.flush_at = Some(last + interval),
            _ => self.publish_text(content).await,
        }
    }

    /// Returns when [`Self::flush`] has something to do.
    pub(crate) async fn flush_due(&self) {
        let due = async {
            match self.flush_at {
                Some(flush_at) => sleep_until(flush_at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = self.source.delivery.changed() => {}
        }
    }

    /// Publishes the part of the answer that is due, or all that a new subscriber or a lost log lacks.
    pub(crate) async fn flush(&mut self, content: &str) {
        self.flush_at = None;
        // The commit wakes this emitter again.
        if self.gate.is_closed() {
            return;
        }
        self.wait_for_commit().await;
        if self.source.delivery.take_stale() {
            self.is_stale = true;
        }
        if self.has_subscribers() == HasSubscribers::Yes {
            self.publish_text(content).await;
        }
    }

    /// The answer is complete.
    pub(crate) async fn on_end(&mut self, content: &str) {
        self.wait_for_commit().await;
        self.flush_at = None;
        if self.has_subscribers() == HasSubscribers::No {
            return;
        }
        self.publish_text(content).await;
        if !self.is_stale && self.published == content.len() {
            self.published_answer = Some(without_nul(content).into_owned());
        }
    }

    /// The run ends with this reply, which may differ from what the model said.
    pub(crate) async fn replied(&mut self, reply: &str) {
        if self.has_subscribers() == HasSubscribers::No
            || self.published_answer.as_deref() == Some(reply)
            || !self.may_publish().await
        {
            return;
        }
        let published = self.published_answer.as_deref();
        let data = match published.and_then(|published| reply.strip_prefix(published)) {
            Some(rest) => EventData::Delta { text: rest.into() },
            None => EventData::Reset { text: reply.into() },
        };
        self.publish(data, false);
    }

    pub(crate) async fn tools_started(&mut self, calls: &[PlannedCall]) {
        if !self.may_publish().await {
            return;
        }
        for call in calls {
            let arguments = with_user_id(&call.journal_arguments(), self.lease.user_id);
            let data = EventData::ToolStarted {
                tool_call_id: Cow::Borrowed(&call.id),
                tool_name: Cow::Borrowed(&call.name),
                arguments: Cow::Owned(arguments),
            };
            self.publish(data, false);
        }
    }

    /// Publishes results. Only after their commit.
    pub(crate) async fn tools_finished(&mut self, calls: &[RecordedCall]) {
        if !self.may_publish().await {
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
            self.publish(data, false);
        }
    }

    /// The run waits until its user has decided about `calls`. These events belong to the epoch in which the run waits: the log rejects
    /// them once the run is claimed again.
    pub(crate) fn approval_requested<'c>(
        &self,
        approval: ApprovalWait,
        calls: impl Iterator<Item = &'c PlannedCall>,
    ) {
        for call in calls {
            let arguments = with_user_id(&call.journal_arguments(), self.lease.user_id);
            let event = Event {
                seq: requested_seq(approval.epoch, i16::try_from(call.index).unwrap_or(i16::MAX)),
                run_id: self.lease.run_id,
                conversation_id: self.lease.conversation_id,
                attempt: self.lease.attempt,
                at: self.context.clock.now(),
                data: EventData::ApprovalRequested {
                    tool_call_id: Cow::Borrowed(&call.id),
                    tool_name: Cow::Borrowed(&call.name),
                    arguments: Cow::Owned(arguments),
                    expires_at: approval.expires_at,
                },
            };
            self.context.notifier.publish(&self.source, &event, true);
        }
        self.context.notifier.publish_awaiting_approval(AwaitingApproval {
            run_id: self.lease.run_id,
            epoch: approval.epoch,
        });
    }

    fn has_subscribers(&self) -> HasSubscribers {
        self.source.delivery.has_subscribers()
    }

    async fn publish_text(&mut self, content: &str) {
        if !self.may_publish().await {
            return;
        }
        if self.is_log_missing && !self.check_lease().await {
            return;
        }
        let data = if self.is_stale || self.is_log_missing {
            EventData::Reset {
                text: without_nul(content),
            }
        } else {
            match content.get(self.published..) {
                Some(rest) if !rest.is_empty() => EventData::Delta {
                    text: without_nul(rest),
                },
                _ => return,
            }
        };
        if self.is_log_missing {
            self.seq += ROOM_AFTER_LOSS;
        }
        self.publish(data, self.is_log_missing);
        self.is_log_missing = false;
        self.is_stale = false;
        self.published = content.len();
        self.last_text_at = Some(Instant::now());
    }

    fn publish(&mut self, data: EventData<'_>, starts_log: bool) {
        if self.seq >= (i64::from(self.lease.epoch) + 1) * EVENTS_PER_EPOCH - RESERVED_NUMBERS {
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
        self.context.notifier.publish(&self.source, &event, starts_log);
    }

    /// Whether this worker may publish events of the run. A recent heartbeat proves that it holds its leases. Without one, for example
    /// after the process was suspended, the database is asked.
    async fn may_publish(&mut self) -> bool {
        let delivery = &self.source.delivery;
        self.is_log_missing |= delivery.take_log_missing();
        self.is_closed |= delivery.is_closed();
        if self.is_closed {
            return false;
        }
        let dead_after = self.context.settings.liveness.worker_dead_after_ms;
        let is_recent = |since: Instant| since.elapsed() < dead_after;
        is_recent(self.lease_checked_at)
            || self.context.last_heartbeat.get().is_some_and(is_recent)
            || self.check_lease().await
    }

    /// Asks the database whether this worker holds the lease. If the database does not answer, nothing is published, and the text in the
    /// log counts as stale.
    async fn check_lease(&mut self) -> bool {
        let started = Instant::now();
        match claims::is_held(&self.context.pool, self.lease.run_id, self.lease.token).await {
            Ok(true) => self.lease_checked_at = started,
            Ok(false) => self.is_closed = true,
            Err(error) => {
                tracing::debug!(%error, run.id = %self.lease.run_id, "the lease could not be checked; event not published");
                self.is_stale = true;
                return false;
            }
        }
        !self.is_closed
    }
}

impl AnswerSink for EventEmitter<'_> {
    fn on_start(&mut self) {
        Self::on_start(self);
    }

    fn on_delta(&mut self, content: &str) -> impl Future<Output = ()> + Send {
        Self::on_delta(self, content)
    }

    fn on_end(&mut self, content: &str) -> impl Future<Output = ()> + Send {
        Self::on_end(self, content)
    }

    fn on_attempt_end(&mut self) -> impl Future<Output = ()> + Send {
        self.wait_for_commit()
    }

    fn flush_due(&self) -> impl Future<Output = ()> + Send {
        Self::flush_due(self)
    }

    fn flush(&mut self, content: &str) -> impl Future<Output = ()> + Send {
        Self::flush(self, content)
    }
}

/// The text as the reply is stored: Postgres rejects U+0000.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', ""))
    } else {
        Cow::Borrowed(text)
    }
}
