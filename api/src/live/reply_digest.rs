//! The text that a reader has of a reply, by its digest: enough to know at the end whether it is the stored one.

use errand_shared::{domain::events::EventData, signals::event_log::LogEntry};
use sha2::{Digest, Sha256};

use super::LiveEvent;

/// What a reader shows of a reply so far.
#[derive(Clone, Debug, Default)]
pub(super) enum ReplyDigest {
    /// It is not known what the reader was told before.
    #[default]
    Unknown,
    /// The digest of the text.
    Text(Sha256),
}

impl ReplyDigest {
    /// A reader who was told nothing.
    pub(super) fn nothing() -> Self {
        Self::Text(Sha256::new())
    }

    /// A reader who was told all of a log up to this number. `is_whole` if the log begins where its run does.
    pub(super) fn of_log(log: &[LogEntry], is_whole: bool, up_to: i64) -> Self {
        let mut shown = if is_whole { Self::nothing() } else { Self::Unknown };
        for entry in log.iter().take_while(|entry| entry.seq <= up_to) {
            if let Some(event) = entry.parse() {
                shown.take(&event.data);
            }
        }
        shown
    }

    /// The reader is told this.
    pub(super) fn tell(&mut self, event: &LiveEvent) {
        if event.is_text()
            && let Some(event) = event.read()
        {
            self.take(&event.data);
        }
    }

    /// Whether the reader shows this text, as far as is known.
    pub(super) fn is(&self, text: &str) -> bool {
        match self {
            Self::Unknown => false,
            Self::Text(digest) => digest.clone().finalize() == Sha256::digest(text),
        }
    }

    fn take(&mut self, data: &EventData<'_>) {
        match (data, self) {
            (EventData::Reset { text }, shown) => {
                *shown = Self::Text(Sha256::new_with_prefix(text.as_bytes()));
            }
            (EventData::Delta { text }, Self::Text(digest)) => digest.update(text.as_bytes()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use errand_shared::{Uuid, domain::events::Event};

    use super::*;

    fn entry(seq: i64, data: EventData<'_>) -> LogEntry {
        let event = Event {
            seq,
            run_id: Uuid::nil(),
            conversation_id: Uuid::nil(),
            attempt: 1,
            at: chrono::DateTime::UNIX_EPOCH,
            data,
        };
        LogEntry {
            seq,
            event: serde_json::to_vec(&event).unwrap(),
        }
    }

    fn delta(text: &str) -> EventData<'_> {
        EventData::Delta { text: text.into() }
    }

    #[test]
    fn deltas_add_up_and_a_reset_begins_anew() {
        let mut shown = ReplyDigest::nothing();
        assert!(shown.is(""));
        for text in ["dr", "ip"] {
            shown.take(&delta(text));
        }
        assert!(shown.is("drip") && !shown.is("dri") && !shown.is(""));
        shown.take(&EventData::Reset { text: "D".into() });
        shown.take(&delta("one."));
        assert!(shown.is("Done."));
    }

    #[test]
    fn of_a_log_that_lacks_its_beginning_the_text_is_known_from_a_reset_on() {
        let log = [
            entry(7, delta("a")),
            entry(8, EventData::Reset { text: "b".into() }),
            entry(9, delta("c")),
        ];
        assert!(!ReplyDigest::of_log(&log, false, 7).is("a"));
        assert!(ReplyDigest::of_log(&log, true, 7).is("a"));
        assert!(ReplyDigest::of_log(&log, false, 8).is("b"));
        assert!(ReplyDigest::of_log(&log, false, 100).is("bc"));
    }
}
