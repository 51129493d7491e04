//! An event as readers get it: written once, shared by all.

use std::sync::Arc;

use axum::{body::Bytes, extract::ws::Utf8Bytes};
use errand_shared::{
    Uuid,
    domain::events::{Event, RunEnd, is_final_seq},
};

/// An event on its way to readers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LiveEvent {
    /// The run.
    pub(crate) run_id: Uuid,
    /// Its number.
    pub(crate) seq: i64,
    /// The event as JSON.
    pub(crate) json: Utf8Bytes,
}

impl LiveEvent {
    /// An event as it came over the wire. None if it is not text.
    pub(crate) fn from_wire(run_id: Uuid, seq: i64, json: &[u8]) -> Option<Arc<Self>> {
        let json = Bytes::copy_from_slice(json).try_into().ok()?;
        Some(Arc::new(Self { run_id, seq, json }))
    }

    /// An event that is made here.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub(crate) fn new(event: &Event<'_>) -> Result<Arc<Self>, serde_json::Error> {
        Ok(Arc::new(Self {
            run_id: event.run_id,
            seq: event.seq,
            json: serde_json::to_string(event)?.into(),
        }))
    }

    /// The final event of a run.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub(crate) fn of_end(end: &RunEnd) -> Result<Arc<Self>, serde_json::Error> {
        Self::new(&end.event())
    }

    /// Whether it ends its run.
    pub(crate) const fn is_final(&self) -> bool {
        is_final_seq(self.seq)
    }

    /// Its type. What stands before it in an event holds no text of anybody's.
    pub(crate) fn kind(&self) -> &str {
        self.json
            .split_once("\"type\":\"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or("message", |(kind, _)| kind)
    }

    /// Whether it says something of the reply's text.
    pub(crate) fn is_text(&self) -> bool {
        self.kind().starts_with("message.")
    }

    /// What it says. None if it can't be read.
    pub(crate) fn read(&self) -> Option<Event<'_>> {
        serde_json::from_str(&self.json).ok()
    }
}

#[cfg(test)]
mod tests {
    use errand_shared::domain::events::EventData;

    use super::*;

    #[test]
    fn an_event_tells_its_type_whatever_its_text_says() {
        let event = Event {
            seq: 7,
            run_id: Uuid::nil(),
            conversation_id: Uuid::nil(),
            attempt: 1,
            at: chrono::DateTime::UNIX_EPOCH,
            data: EventData::Delta {
                text: r#""type":"run.failed""#.into(),
            },
        };
        assert_eq!(LiveEvent::new(&event).unwrap().kind(), "message.delta");
    }
}
