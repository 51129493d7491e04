//! One run as one reader follows it: nothing twice, nothing left out, and an end.

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
    LiveEvent,
    reply_digest::ReplyDigest,
    snapshot::{self, Told},
};
use crate::{
    chat::{self, waiter::Wait},
    http::error::ApiError,
    state::App,
};

/// How often a run is read again because its log was ahead of its row.
const LOOKS: usize = 3;

/// A run that is being followed, until its final event.
#[derive(Debug)]
pub(crate) struct RunSubscription {
    user_id: Uuid,
    run_id: Uuid,
    conversation_id: Uuid,
    attempt: i32,
    /// Number of the last event that was told.
    last: i64,
    /// What the reader shows of the reply.
    shown: ReplyDigest,
    /// Tool calls told from the journal.
    from_journal: HashSet<String>,
    /// Makes sure that the end is found even if its news is lost. None once it was told.
    wait: Option<Wait>,
}

impl RunSubscription {
    /// Follows a run that was just stored, whose first event is the first to be told.
    ///
    /// # Errors
    /// If the event can't be written as JSON.
    pub(crate) fn fresh(
        app: &App,
        user_id: Uuid,
        run: &ChatResponse,
        wait: Wait,
    ) -> Result<(Self, Arc<LiveEvent>), ApiError> {
        let event = Event {
            seq: queued_seq(0),
            run_id: run.run_id,
            conversation_id: run.conversation_id,
            attempt: 0,
            at: app.clock.now(),
            data: EventData::Queued {},
        };
        let follow = Self {
            user_id,
            run_id: run.run_id,
            conversation_id: run.conversation_id,
            attempt: 0,
            last: event.seq,
            shown: ReplyDigest::nothing(),
            from_journal: HashSet::new(),
            wait: Some(wait),
        };
        let event = LiveEvent::new(&event).map_err(ApiError::internal)?;
        Ok((follow, event))
    }

    /// Follows a run from where its reader left it, and gives what is to be told first. The reader must already read the
    /// user's events, so that nothing falls between. None for a reader who has seen the end.
    ///
    /// # Errors
    /// 404 if there is no such run of this user; a fault of Postgres.
    pub(crate) async fn begin(
        app: &App,
        user_id: Uuid,
        run_id: Uuid,
        after: i64,
    ) -> Result<Option<(Self, Vec<Arc<LiveEvent>>)>, ApiError> {
        let wait = app.waiter.wait_for(user_id, run_id);
        let view = app
            .database(runs::view(&app.pool, user_id, run_id))
            .await?
            .ok_or_else(|| chat::no_run(run_id))?;
        wait.is_stored();
        if view.ended.is_some_and(|(seq, _)| seq == after) {
            return Ok(None);
        }
        // A number that the run has not reached was not given out.
        let after = if after < final_seq(view.epoch) { after } else { 0 };
        let mut follow = Self {
            user_id,
            run_id,
            conversation_id: view.response.conversation_id,
            attempt: view.attempt,
            last: after,
            shown: ReplyDigest::Unknown,
            from_journal: HashSet::new(),
            wait: Some(wait),
        };
        let log = follow.read_log(app).await;
        follow.shown = match &log {
            _ if after == 0 => ReplyDigest::nothing(),
            Some(log) => ReplyDigest::of_log(log, snapshot::is_whole(log), after),
            None => ReplyDigest::Unknown,
        };
        let told = follow.tell_so_far(app, view, log).await?;
        Ok(Some((follow, told)))
    }

    /// Looks where the run stands after events may have been missed.
    ///
    /// # Errors
    /// A fault of Postgres.
    pub(crate) async fn catch_up(&mut self, app: &App) -> Result<Vec<Arc<LiveEvent>>, ApiError> {
        let view = runs::view(&app.pool, self.user_id, self.run_id);
        match app.database(view).await? {
            Some(view) => {
                let log = self.read_log(app).await;
                self.tell_so_far(app, view, log).await
            }
            None => Ok(self.gone(app.clock.now()).into_iter().collect()),
        }
    }

    /// Whether an event is to be told; then it counts as told.
    pub(crate) fn admits(&mut self, event: &LiveEvent) -> bool {
        if event.run_id != self.run_id || event.seq <= self.last || self.has_ended() {
            return false;
        }
        self.last = event.seq;
        self.shown.tell(event);
        if event.is_final() {
            self.wait = None;
            return true;
        }
        self.from_journal.is_empty() || !self.was_told_from_journal(event)
    }

    /// Whether this is the end of a run with a reply that is not what its reader shows: the worker did not hear in time that
    /// somebody reads, or what it told was lost. Then [`Self::catch_up`] tells the reply before the end.
    pub(crate) fn lacks_reply(&self, event: &LiveEvent) -> bool {
        let is_end_to_tell =
            event.is_final() && event.run_id == self.run_id && event.seq > self.last && !self.has_ended();
        is_end_to_tell
            && match event.read().map(|event| event.data) {
                Some(EventData::Succeeded { response }) => !self.shown.is(&response.message),
                _ => false,
            }
    }

    /// The last word on a run whose conversation was deleted. None if it has had its last word.
    pub(crate) fn gone(&mut self, at: DateTime<Utc>) -> Option<Arc<LiveEvent>> {
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

    /// Follows a run of which this event is the first that is told. None if the event can't be read.
    pub(crate) fn from_here(app: &App, user_id: Uuid, event: &LiveEvent) -> Option<Self> {
        let known = event.read()?;
        let wait = app.waiter.wait_for(user_id, event.run_id);
        wait.is_stored();
        let mut shown = if event.seq == queued_seq(0) {
            ReplyDigest::nothing()
        } else {
            ReplyDigest::Unknown
        };
        shown.tell(event);
        Some(Self {
            user_id,
            run_id: event.run_id,
            conversation_id: known.conversation_id,
            attempt: known.attempt,
            last: event.seq,
            shown,
            from_journal: HashSet::new(),
            wait: (!event.is_final()).then_some(wait),
        })
    }

    /// Number of the last event that was told.
    pub(crate) const fn last(&self) -> i64 {
        self.last
    }

    /// Whether the final event was told.
    pub(crate) const fn has_ended(&self) -> bool {
        self.wait.is_none()
    }

    /// The run.
    pub(crate) const fn run_id(&self) -> Uuid {
        self.run_id
    }

    /// `log` must have been read after the row.
    async fn tell_so_far(
        &mut self,
        app: &App,
        mut view: RunView,
        mut log: Option<Vec<event_log::LogEntry>>,
    ) -> Result<Vec<Arc<LiveEvent>>, ApiError> {
        for _ in 1..LOOKS {
            if !log.as_deref().is_some_and(|log| snapshot::is_ahead(log, &view)) {
                break;
            }
            let again = runs::view(&app.pool, self.user_id, self.run_id);
            let Some(later) = app.database(again).await? else {
                return Ok(self.gone(app.clock.now()).into_iter().collect());
            };
            view = later;
            log = self.read_log(app).await;
        }
        self.attempt = view.attempt;
        let snapshot = snapshot::snapshot(&view, log.as_deref(), self.last, app.clock.now());
        if view.ended.is_none() {
            if snapshot.is_lacking {
                app.notifier.send_command(WorkerCommand::Resend(self.run_id));
            }
            app.notifier.send_command(WorkerCommand::Subscribe(self.user_id));
        }
        let mut told = Vec::with_capacity(snapshot.told.len() + 2);
        for event in &snapshot.told {
            told.extend(match event {
                Told::Logged(entry) => LiveEvent::from_wire(self.run_id, entry.seq, &entry.event),
                Told::Made(event) => Some(LiveEvent::new(event).map_err(ApiError::internal)?),
            });
        }
        self.from_journal.extend(snapshot.from_journal);
        if let Some(last) = told.last() {
            self.last = last.seq;
        }
        for event in &told {
            self.shown.tell(event);
        }
        if let Some(reply) = self.missing_reply(&view, app.clock.now()) {
            let reply = LiveEvent::new(&reply).map_err(ApiError::internal)?;
            self.last = reply.seq;
            self.shown.tell(&reply);
            told.push(reply);
        }
        if view.ended.is_none() {
            // What comes is of this epoch: late news of an end that was taken back is not.
            self.last = self.last.max(queued_seq(view.epoch) - 1);
        }
        if let Some(end) = view.into_end() {
            let end = LiveEvent::of_end(&end).map_err(ApiError::internal)?;
            if self.admits(&end) {
                told.push(end);
            }
            self.wait = None;
        }
        Ok(told)
    }

    /// Of a run that has ended with a reply: the reply, if that is not what the reader shows by now.
    fn missing_reply<'a>(&self, view: &'a RunView, now: DateTime<Utc>) -> Option<Box<Event<'a>>> {
        let (end, _) = view.ended?;
        let reply = view.response.message.as_str();
        let is_missing =
            view.response.status == RunStatus::Succeeded && self.last < end - 1 && !self.shown.is(reply);
        let text = EventData::Reset { text: reply.into() };
        is_missing.then(|| snapshot::made(view, end - 1, view.attempt, now, text))
    }

    /// The log; none if Redis does not tell.
    async fn read_log(&self, app: &App) -> Option<Vec<event_log::LogEntry>> {
        match event_log::read(&app.redis, self.run_id).await {
            Ok(log) => Some(log),
            Err(error) => {
                tracing::debug!(%error, run.id = %self.run_id, "a log can't be read");
                None
            }
        }
    }

    fn was_told_from_journal(&self, event: &LiveEvent) -> bool {
        let Some(event) = event.read() else {
            return false;
        };
        match &event.data {
            EventData::ToolStarted { tool_call_id, .. } | EventData::ToolFinished { tool_call_id, .. } => {
                self.from_journal.contains(tool_call_id.as_ref())
            }
            _ => false,
        }
    }
}
