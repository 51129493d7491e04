//! One subscriber's view of one run: every event is sent once, in order, up to the final event.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};
use errand_shared::{
    Uuid,
    domain::{
        chat::{ChatResponse, Usage},
        events::{EVENTS_PER_EPOCH, Event, EventData, RunEnd, final_seq, queued_seq},
        run::RunStatus,
    },
    signals::{event_log, wire::WorkerCommand},
    storage::runs::{self, RunView},
};

use super::{
    event::LiveEvent,
    reply_digest::ReplyDigest,
    snapshot::{self, SnapshotEvent},
    state::LiveState,
};
use crate::{chat::waiter::Wait, http::error::ApiError};

/// How often the row and the log are read if the log is ahead of the row.
const MAX_READS: usize = 3;

/// A subscription to the events of a run, until its final event.
#[derive(Debug)]
pub(crate) struct RunSubscription {
    user_id: Uuid,
    run_id: Uuid,
    conversation_id: Uuid,
    attempt: i32,
    /// The number of the last event that was sent.
    last: i64,
    /// The reply text that was sent.
    reply: ReplyDigest,
    /// The tool calls whose events were made from recorded steps.
    from_steps: HashSet<String>,
    /// Finds the end of the run even if Redis loses it. None after the final event was sent.
    wait: Option<Wait>,
}

impl RunSubscription {
    /// Subscribes to a run that was just stored. Also returns its first event.
    ///
    /// # Errors
    /// If the event cannot be serialized.
    pub(crate) fn for_new_run(
        live: &LiveState,
        user_id: Uuid,
        run: &ChatResponse,
        wait: Wait,
    ) -> Result<(Self, Arc<LiveEvent>), ApiError> {
        let event = Event {
            seq: queued_seq(0),
            run_id: run.run_id,
            conversation_id: run.conversation_id,
            attempt: 0,
            at: live.chat.clock.now(),
            data: EventData::Queued {},
        };
        let subscription = Self {
            user_id,
            run_id: run.run_id,
            conversation_id: run.conversation_id,
            attempt: 0,
            last: event.seq,
            reply: ReplyDigest::empty(),
            from_steps: HashSet::new(),
            wait: Some(wait),
        };
        let event = LiveEvent::new(&event).map_err(ApiError::internal)?;
        Ok((subscription, event))
    }

    /// Subscribes to a run after event number `after`. Also returns the events to send first. The caller must already receive the
    /// user's events, so that none is missed. None if the subscriber has received the final event.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if the user has no such run; a database error.
    pub(crate) async fn resume(
        live: &LiveState,
        user_id: Uuid,
        run_id: Uuid,
        after: i64,
    ) -> Result<Option<(Self, Vec<Arc<LiveEvent>>)>, ApiError> {
        let wait = live.chat.waiter.wait_for(user_id, run_id);
        let view = live
            .chat
            .database
            .run(runs::view(&live.chat.database.pool, user_id, run_id))
            .await?
            .ok_or_else(|| ApiError::run_not_found(run_id))?;
        wait.mark_stored();
        if view.ended.is_some_and(|(seq, _)| seq == after) {
            return Ok(None);
        }
        // A number that the run has not reached yet cannot be right.
        let after = if after < final_seq(view.epoch) { after } else { 0 };
        let mut subscription = Self {
            user_id,
            run_id,
            conversation_id: view.response.conversation_id,
            attempt: view.attempt,
            last: after,
            reply: ReplyDigest::Unknown,
            from_steps: HashSet::new(),
            wait: Some(wait),
        };
        let log = subscription.read_log(live).await;
        subscription.reply = match &log {
            _ if after == 0 => ReplyDigest::empty(),
            Some(log) => ReplyDigest::of_log(log, snapshot::has_start(log), after),
            None => ReplyDigest::Unknown,
        };
        let events = subscription.events_so_far(live, view, log).await?;
        Ok(Some((subscription, events)))
    }

    /// Reads the current state after events may have been missed, and returns the events to send.
    ///
    /// # Errors
    /// A database error.
    pub(crate) async fn catch_up(&mut self, live: &LiveState) -> Result<Vec<Arc<LiveEvent>>, ApiError> {
        let view = runs::view(&live.chat.database.pool, self.user_id, self.run_id);
        match live.chat.database.run(view).await? {
            Some(view) => {
                let log = self.read_log(live).await;
                self.events_so_far(live, view, log).await
            }
            None => Ok(self.deleted(live.chat.clock.now()).into_iter().collect()),
        }
    }

    /// Whether an event must be sent. If so, it is recorded as sent.
    pub(crate) fn accept(&mut self, event: &LiveEvent) -> bool {
        if event.run_id != self.run_id || event.seq <= self.last || self.has_ended() {
            return false;
        }
        self.last = event.seq;
        self.reply.update(event);
        if event.is_final() {
            self.wait = None;
            return true;
        }
        self.from_steps.is_empty() || !self.was_sent_from_steps(event)
    }

    /// Whether this is the end of a run whose reply was not sent completely: the worker learned too late that the user has
    /// subscribers, or an event was lost. [`Self::catch_up`] then returns the reply before the end.
    pub(crate) fn is_missing_reply(&self, event: &LiveEvent) -> bool {
        let is_unsent_end =
            event.is_final() && event.run_id == self.run_id && event.seq > self.last && !self.has_ended();
        is_unsent_end
            && match event.parse().map(|event| event.data) {
                Some(EventData::Succeeded { response }) => !self.reply.matches(&response.message),
                _ => false,
            }
    }

    /// The final event of a run whose conversation was deleted. None if a final event was already sent.
    pub(crate) fn deleted(&mut self, at: DateTime<Utc>) -> Option<Arc<LiveEvent>> {
        self.wait.take()?;
        let epoch = i32::try_from(self.last / EVENTS_PER_EPOCH).unwrap_or(i32::MAX);
        let end = RunEnd {
            user_id: self.user_id,
            seq: final_seq(epoch),
            attempt: self.attempt,
            at,
            response: ChatResponse {
                conversation_id: self.conversation_id,
                message: String::new(),
                tool_calls: Vec::new(),
                usage: Usage::default(),
                run_id: self.run_id,
                status: RunStatus::Cancelled,
                approvals: Vec::new(),
                problem: None,
            },
            timing: None,
        };
        LiveEvent::of_end(&end).ok()
    }

    /// Subscribes to a run whose events before this one are not sent. None if the event is malformed.
    pub(crate) fn starting_with(live: &LiveState, user_id: Uuid, event: &LiveEvent) -> Option<Self> {
        let parsed = event.parse()?;
        let wait = live.chat.waiter.wait_for(user_id, event.run_id);
        wait.mark_stored();
        let mut reply = if event.seq == queued_seq(0) {
            ReplyDigest::empty()
        } else {
            ReplyDigest::Unknown
        };
        reply.update(event);
        Some(Self {
            user_id,
            run_id: event.run_id,
            conversation_id: parsed.conversation_id,
            attempt: parsed.attempt,
            last: event.seq,
            reply,
            from_steps: HashSet::new(),
            wait: (!event.is_final()).then_some(wait),
        })
    }

    /// The number of the last event that was sent.
    pub(crate) const fn last(&self) -> i64 {
        self.last
    }

    /// Whether the final event was sent.
    pub(crate) const fn has_ended(&self) -> bool {
        self.wait.is_none()
    }

    pub(crate) const fn run_id(&self) -> Uuid {
        self.run_id
    }

    /// The events between the last sent event and the current state. `log` must have been read after the row.
    async fn events_so_far(
        &mut self,
        live: &LiveState,
        mut view: RunView,
        mut log: Option<Vec<event_log::LogEntry>>,
    ) -> Result<Vec<Arc<LiveEvent>>, ApiError> {
        for _ in 1..MAX_READS {
            if !log.as_deref().is_some_and(|log| snapshot::is_ahead(log, &view)) {
                break;
            }
            let again = runs::view(&live.chat.database.pool, self.user_id, self.run_id);
            let Some(newer) = live.chat.database.run(again).await? else {
                return Ok(self.deleted(live.chat.clock.now()).into_iter().collect());
            };
            view = newer;
            log = self.read_log(live).await;
        }
        self.attempt = view.attempt;
        let snapshot = snapshot::snapshot(&view, log.as_deref(), self.last, live.chat.clock.now());
        if view.ended.is_none() {
            if snapshot.needs_resend {
                live.chat
                    .notifier
                    .send_command(WorkerCommand::Resend(self.run_id));
            }
            live.chat
                .notifier
                .send_command(WorkerCommand::Subscribe(self.user_id));
        }
        let mut events = Vec::with_capacity(snapshot.events.len() + 2);
        for event in &snapshot.events {
            events.extend(match event {
                SnapshotEvent::Logged(entry) => LiveEvent::from_wire(self.run_id, entry.seq, &entry.event),
                SnapshotEvent::Made(event) => Some(LiveEvent::new(event).map_err(ApiError::internal)?),
            });
        }
        self.from_steps.extend(snapshot.from_steps);
        if let Some(last) = events.last() {
            self.last = last.seq;
        }
        for event in &events {
            self.reply.update(event);
        }
        if let Some(reply) = self.missing_reply(&view, live.chat.clock.now()) {
            let reply = LiveEvent::new(&reply).map_err(ApiError::internal)?;
            self.last = reply.seq;
            self.reply.update(&reply);
            events.push(reply);
        }
        if view.ended.is_none() {
            // Later events belong to this epoch. A delayed message about an end that a retry has undone does not.
            self.last = self.last.max(queued_seq(view.epoch) - 1);
        }
        if let Some(end) = view.into_end() {
            let end = LiveEvent::of_end(&end).map_err(ApiError::internal)?;
            if self.accept(&end) {
                events.push(end);
            }
            self.wait = None;
        }
        Ok(events)
    }

    /// The whole reply as an event, if the run has succeeded and the reply was not sent completely.
    fn missing_reply<'a>(&self, view: &'a RunView, now: DateTime<Utc>) -> Option<Box<Event<'a>>> {
        let (end, _) = view.ended?;
        let reply = view.response.message.as_str();
        let is_missing =
            view.response.status == RunStatus::Succeeded && self.last < end - 1 && !self.reply.matches(reply);
        let text = EventData::Reset { text: reply.into() };
        is_missing.then(|| snapshot::made(view, end - 1, view.attempt, now, text))
    }

    /// The event log. None if Redis fails.
    async fn read_log(&self, live: &LiveState) -> Option<Vec<event_log::LogEntry>> {
        match event_log::read(&live.redis, self.run_id).await {
            Ok(log) => Some(log),
            Err(error) => {
                tracing::debug!(%error, run.id = %self.run_id, "cannot read an event log");
                None
            }
        }
    }

    fn was_sent_from_steps(&self, event: &LiveEvent) -> bool {
        let Some(event) = event.parse() else {
            return false;
        };
        match &event.data {
            EventData::ToolStarted { tool_call_id, .. } | EventData::ToolFinished { tool_call_id, .. } => {
                self.from_steps.contains(tool_call_id.as_ref())
            }
            _ => false,
        }
    }
}
