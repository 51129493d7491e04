//! What a reader is told of a run before what happens next: from its log as far as that goes, else from its row.
//!
//! Without IO: made of what was read.

use std::{borrow::Cow, collections::HashSet};

use chrono::{DateTime, Utc};
use errand_shared::{
    domain::{
        events::{EVENTS_PER_EPOCH, Event, EventData, FIRST_OF_LOG, is_final_seq, queued_seq},
        run::RunStatus,
    },
    signals::event_log::LogEntry,
    storage::runs::RunView,
};

/// Numbers that a snapshot may take behind what a reader has seen when there is no log: a worker that finds its log lost
/// leaves out more than these.
const ROOM: i64 = 1000;

/// What is to be told first.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Snapshot<'a> {
    /// The events, numbers growing.
    pub(super) told: Vec<Told<'a>>,
    /// The tool calls told from the journal, whose own events may still come.
    pub(super) from_journal: HashSet<String>,
    /// Whether the log does not show how far the run has come: its worker should tell.
    pub(super) is_lacking: bool,
}

/// An event of a snapshot.
#[derive(Debug, PartialEq)]
pub(super) enum Told<'a> {
    /// As the log has it.
    Logged(&'a LogEntry),
    /// Made from the row.
    Made(Box<Event<'a>>),
}

impl Told<'_> {
    /// Its number.
    const fn seq(&self) -> i64 {
        match self {
            Self::Logged(entry) => entry.seq,
            Self::Made(event) => event.seq,
        }
    }
}

/// Whether a log shows a later end than a row: the row was read too early.
pub(super) fn is_ahead(log: &[LogEntry], view: &RunView) -> bool {
    let epoch = i64::from(view.epoch);
    view.ended.is_none()
        && log
            .iter()
            .any(|entry| is_final_seq(entry.seq) && entry.seq / EVENTS_PER_EPOCH >= epoch)
}

/// Whether a log begins where its run does.
pub(super) fn is_whole(log: &[LogEntry]) -> bool {
    log.first().is_some_and(|first| first.seq <= FIRST_OF_LOG)
}

/// The snapshot for a reader who has seen all up to `after`; without the final event. `log` is none if it could not be
/// read, and must have been read after the row.
pub(super) fn snapshot<'a>(
    view: &'a RunView,
    log: Option<&'a [LogEntry]>,
    after: i64,
    now: DateTime<Utc>,
) -> Snapshot<'a> {
    let mut snapshot = Snapshot::default();
    let mut last = after;
    if last < queued_seq(0) {
        let event = made(view, queued_seq(0), 0, view.created_at, EventData::Queued {});
        last = event.seq;
        snapshot.told.push(Told::Made(event));
    }
    // The run may have been tried again since the row was read; what comes of that is for the next reader.
    let end = view.ended.map_or(i64::MAX, |(seq, _)| seq);
    let log = log.map(|log| log.split_at(log.partition_point(|entry| entry.seq < end)).0);
    if let Some(log) = log {
        snapshot.fill_gap(view, log, last, now);
        let unseen = log
            .iter()
            .filter(|entry| entry.seq > last && !entry.event.is_empty());
        snapshot.told.extend(unseen.map(Told::Logged));
    }
    snapshot.ask(view, last, now);
    snapshot
}

impl<'a> Snapshot<'a> {
    /// Of a run that waits for its user: asks, if the log does not; its worker may have died before it could.
    fn ask(&mut self, view: &'a RunView, last: i64, now: DateTime<Utc>) {
        let last = self.told.last().map_or(last, Told::seq);
        let lacking = view.requests(now).filter(|event| event.seq > last);
        self.told.extend(lacking.map(|event| Told::Made(Box::new(event))));
    }

    /// Tells from the journal what the log does not have any more.
    fn fill_gap(&mut self, view: &'a RunView, log: &[LogEntry], last: i64, now: DateTime<Utc>) {
        let first = log.first().map(|entry| entry.seq);
        // The number before an epoch's first is never used, and the one before that ends the epoch before.
        let before = |first: i64| {
            if is_final_seq(first - 2) {
                first - 2
            } else {
                first - 1
            }
        };
        let is_joined = is_whole(log) || first.is_some_and(|first| before(first) <= last);
        if view.attempt == 0 || is_joined {
            return;
        }
        self.is_lacking = view.response.status == RunStatus::Running;
        let (mut next, room) = match first {
            Some(first) => {
                let end = if is_final_seq(first - 2) { first - 2 } else { first };
                let start = (last + 1).max(end - ROOM);
                (start, end - start)
            }
            None => (last.max(queued_seq(view.epoch) + 1) + 1, ROOM),
        };
        if room < 1 {
            return;
        }
        // Without a log nothing else says that the run waits again.
        let queued = queued_seq(view.epoch);
        if first.is_none() && view.response.status == RunStatus::Queued && last < queued {
            let queued = made(view, queued, view.attempt, now, EventData::Queued {});
            self.told.push(Told::Made(queued));
        }
        // Whoever has seen nothing of any attempt shows nothing that would have to go.
        if last >= EVENTS_PER_EPOCH {
            let text = EventData::Reset { text: "".into() };
            self.told
                .push(Told::Made(made(view, next, view.attempt, now, text)));
            next += 1;
        }
        let logged: HashSet<_> = log.iter().filter_map(finished_call).collect();
        let calls: Vec<_> = view
            .response
            .tool_calls
            .iter()
            .zip(&view.successes)
            .filter(|(call, _)| !logged.contains(&call.tool_call_id))
            .collect();
        let most = usize::try_from((room - 1) / 2).unwrap_or(0);
        for (call, success) in calls.iter().skip(calls.len().saturating_sub(most)) {
            let started = EventData::ToolStarted {
                tool_call_id: Cow::Borrowed(&call.tool_call_id),
                tool_name: Cow::Borrowed(&call.tool_name),
                arguments: Cow::Borrowed(&call.arguments),
            };
            let finished = EventData::ToolFinished {
                tool_call_id: Cow::Borrowed(&call.tool_call_id),
                tool_name: Cow::Borrowed(&call.tool_name),
                arguments: Cow::Borrowed(&call.arguments),
                result: Cow::Borrowed(&call.result),
                success: **success,
            };
            for data in [started, finished] {
                self.told
                    .push(Told::Made(made(view, next, view.attempt, now, data)));
                next += 1;
            }
            self.from_journal.insert(call.tool_call_id.clone());
        }
    }
}

/// An event made from the row.
pub(super) fn made<'a>(
    view: &RunView,
    seq: i64,
    attempt: i32,
    at: DateTime<Utc>,
    data: EventData<'a>,
) -> Box<Event<'a>> {
    Box::new(Event {
        seq,
        run_id: view.response.run_id,
        conversation_id: view.response.conversation_id,
        attempt,
        at,
        data,
    })
}

fn finished_call(entry: &LogEntry) -> Option<String> {
    match entry.parse()?.data {
        EventData::ToolFinished { tool_call_id, .. } => Some(tool_call_id.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
