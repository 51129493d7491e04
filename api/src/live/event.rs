//! An event as subscribers receive it: serialized once and shared by all of them.

use std::sync::Arc;

use axum::{body::Bytes, extract::ws::Utf8Bytes};
use errand_shared::{
    Uuid,
    domain::events::{Event, RunEnd, is_final_seq},
};

/// A serialized event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LiveEvent {
    pub(crate) run_id: Uuid,
    /// The number of the event within its run.
    pub(crate) seq: i64,
    pub(crate) json: Utf8Bytes,
}

impl LiveEvent {
    /// An event received from Redis. None if it is not UTF-8.
    pub(crate) fn from_wire(run_id: Uuid, seq: i64, json: &[u8]) -> Option<Arc<Self>> {
        let json = Bytes::copy_from_slice(json).try_into().ok()?;
        Some(Arc::new(Self { run_id, seq, json }))
    }

    /// # Errors
    /// If the event cannot be serialized.
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
    /// If the event cannot be serialized.
    pub(crate) fn of_end(end: &RunEnd) -> Result<Arc<Self>, serde_json::Error> {
        Self::new(&end.event())
    }

    /// Whether this is the last event of its run.
    pub(crate) const fn is_final(&self) -> bool {
        is_final_seq(self.seq)
    }

    /// The type of the event, found without parsing the JSON: the fields before it contain no user text.
    pub(crate) fn kind(&self) -> &str {
        self.json
            .split_once("\"type\":\"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or("message", |(kind, _)| kind)
    }

    /// Whether the event changes the text of the reply.
    pub(crate) fn is_text(&self) -> bool {
        self.kind().starts_with("message.")
    }

    /// The deserialized event. None if it is malformed.
    pub(crate) fn parse(&self) -> Option<Event<'_>> {
        serde_json::from_str(&self.json).ok()
    }
}

#[cfg(test)]
mod tests {
    use errand_shared::domain::events::EventData;

    use super::*;

    #[test]
    fn the_type_is_found_even_if_the_text_contains_another() {
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
