//! The events that bring a new subscriber up to date: from the event log of the run or, where that is incomplete, from its row
//! and its recorded steps.
//!
//! This module does no IO.

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

/// Event numbers that a snapshot may use after the last one that the subscriber received, if there is no log. A worker that
/// finds its log lost skips more numbers than this.
const RESERVED_NUMBERS: i64 = 1000;

/// The events to send first.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Snapshot<'a> {
    /// In ascending order of their numbers.
    pub(super) events: Vec<SnapshotEvent<'a>>,
    /// The tool calls whose events were made from recorded steps. Their original events may still arrive.
    pub(super) from_steps: HashSet<String>,
    /// Whether the log does not contain the current text of the reply, so the worker must send it again.
    pub(super) needs_resend: bool,
}

/// An event of a snapshot.
#[derive(Debug, PartialEq)]
pub(super) enum SnapshotEvent<'a> {
    /// An event of the log.
    Logged(&'a LogEntry),
    /// An event made from the row or a recorded step.
    Made(Box<Event<'a>>),
}

impl SnapshotEvent<'_> {
    const fn seq(&self) -> i64 {
        match self {
            Self::Logged(entry) => entry.seq,
            Self::Made(event) => event.seq,
        }
    }
}

/// Whether a log contains a later end of the run than its row, because the row was read too early.
pub(super) fn is_ahead(log: &[LogEntry], view: &RunView) -> bool {
    let epoch = i64::from(view.epoch);
    view.ended.is_none()
        && log
            .iter()
            .any(|entry| is_final_seq(entry.seq) && entry.seq / EVENTS_PER_EPOCH >= epoch)
}

/// Whether a log contains the first event of its run.
pub(super) fn has_start(log: &[LogEntry]) -> bool {
    log.first().is_some_and(|first| first.seq <= FIRST_OF_LOG)
}

/// The snapshot for a subscriber who has received all events up to number `after`. It does not include the final event. `log` is
/// none if it could not be read, and must have been read after the row.
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
        snapshot.events.push(SnapshotEvent::Made(event));
    }
    // The run may have been retried after the row was read. Events of the retry are not part of this snapshot.
    let end = view.ended.map_or(i64::MAX, |(seq, _)| seq);
    let log = log.map(|log| log.split_at(log.partition_point(|entry| entry.seq < end)).0);
    if let Some(log) = log {
        snapshot.fill_gap(view, log, last, now);
        let unseen = log
            .iter()
            .filter(|entry| entry.seq > last && !entry.event.is_empty());
        snapshot.events.extend(unseen.map(SnapshotEvent::Logged));
    }
    snapshot.add_approval_requests(view, last, now);
    snapshot
}

impl<'a> Snapshot<'a> {
    /// Adds the approval requests of the run that are not in the log: its worker may have died before it published them.
    fn add_approval_requests(&mut self, view: &'a RunView, last: i64, now: DateTime<Utc>) {
        let last = self.events.last().map_or(last, SnapshotEvent::seq);
        let missing = view.requests(now).filter(|event| event.seq > last);
        self.events
            .extend(missing.map(|event| SnapshotEvent::Made(Box::new(event))));
    }

    /// Adds events made from recorded steps, where the log no longer has the original events.
    fn fill_gap(&mut self, view: &'a RunView, log: &[LogEntry], last: i64, now: DateTime<Utc>) {
        let first = log.first().map(|entry| entry.seq);
        // The number before the first of an epoch is never used, and the one before that ends the previous epoch.
        let previous = |first: i64| {
            if is_final_seq(first - 2) {
                first - 2
            } else {
                first - 1
            }
        };
        let is_gapless = has_start(log) || first.is_some_and(|first| previous(first) <= last);
        if view.attempt == 0 || is_gapless {
            return;
        }
        self.needs_resend = view.response.status == RunStatus::Running;
        let (mut next, available) = match first {
            Some(first) => {
                let end = if is_final_seq(first - 2) { first - 2 } else { first };
                let start = (last + 1).max(end - RESERVED_NUMBERS);
                (start, end - start)
            }
            None => (last.max(queued_seq(view.epoch) + 1) + 1, RESERVED_NUMBERS),
        };
        if available < 1 {
            return;
        }
        // Without a log, no other event shows that the run is queued again.
        let queued = queued_seq(view.epoch);
        if first.is_none() && view.response.status == RunStatus::Queued && last < queued {
            let queued = made(view, queued, view.attempt, now, EventData::Queued {});
            self.events.push(SnapshotEvent::Made(queued));
        }
        // A subscriber who has received no event of any attempt has no text to reset.
        if last >= EVENTS_PER_EPOCH {
            let text = EventData::Reset { text: "".into() };
            self.events
                .push(SnapshotEvent::Made(made(view, next, view.attempt, now, text)));
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
        let max_calls = usize::try_from((available - 1) / 2).unwrap_or(0);
        for (call, success) in calls.iter().skip(calls.len().saturating_sub(max_calls)) {
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
                self.events
                    .push(SnapshotEvent::Made(made(view, next, view.attempt, now, data)));
                next += 1;
            }
            self.from_steps.insert(call.tool_call_id.clone());
        }
    }
}

/// Makes an event of a run.
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
