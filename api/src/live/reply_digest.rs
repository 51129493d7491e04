//! A digest of the reply text that a subscriber has received. It shows at the end of a run whether that is the whole reply.

use errand_shared::{domain::events::EventData, signals::event_log::LogEntry};
use sha2::{Digest, Sha256};

use super::LiveEvent;

/// The reply text that a subscriber has received so far.
#[derive(Clone, Debug, Default)]
pub(super) enum ReplyDigest {
    /// The subscriber's text is unknown.
    #[default]
    Unknown,
    /// The digest of the text.
    Text(Sha256),
}

impl ReplyDigest {
    /// A subscriber who has received no text.
    pub(super) fn empty() -> Self {
        Self::Text(Sha256::new())
    }

    /// A subscriber who has received all events of a log up to this number. `is_whole` says that no events are missing at the
    /// start of the log.
    pub(super) fn of_log(log: &[LogEntry], is_whole: bool, up_to: i64) -> Self {
        let mut digest = if is_whole { Self::empty() } else { Self::Unknown };
        for entry in log.iter().take_while(|entry| entry.seq <= up_to) {
            if let Some(event) = entry.parse() {
                digest.apply(&event.data);
            }
        }
        digest
    }

    /// Records an event that is sent to the subscriber.
    pub(super) fn update(&mut self, event: &LiveEvent) {
        if event.is_text()
            && let Some(event) = event.parse()
        {
            self.apply(&event.data);
        }
    }

    /// Whether the subscriber is known to have received exactly this text.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Unknown => false,
            Self::Text(digest) => digest.clone().finalize() == Sha256::digest(text),
        }
    }

    fn apply(&mut self, data: &EventData<'_>) {
        match (data, self) {
            (EventData::Reset { text }, digest) => {
                *digest = Self::Text(Sha256::new_with_prefix(text.as_bytes()));
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
    fn deltas_are_appended_and_a_reset_starts_over() {
        let mut digest = ReplyDigest::empty();
        assert!(digest.matches(""));
        for text in ["dr", "ip"] {
            digest.apply(&delta(text));
        }
        assert!(digest.matches("drip") && !digest.matches("dri") && !digest.matches(""));
        digest.apply(&EventData::Reset { text: "D".into() });
        digest.apply(&delta("one."));
        assert!(digest.matches("Done."));
    }

    #[test]
    fn text_of_an_incomplete_log_is_known_after_a_reset() {
        let log = [
            entry(7, delta("a")),
            entry(8, EventData::Reset { text: "b".into() }),
            entry(9, delta("c")),
        ];
        assert!(!ReplyDigest::of_log(&log, false, 7).matches("a"));
        assert!(ReplyDigest::of_log(&log, true, 7).matches("a"));
        assert!(ReplyDigest::of_log(&log, false, 8).matches("b"));
        assert!(ReplyDigest::of_log(&log, false, 100).matches("bc"));
    }
}
