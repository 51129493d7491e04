//! Pagination cursors: opaque strings that mark where the next page of a list starts.
//!
//! A cursor is the base64url encoding of one byte for its list and the position as big-endian numbers. A cursor of one list
//! is malformed for every other list. Cursors need no signature: every query is restricted to the user anyway.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use errand_shared::Uuid;

const CONVERSATIONS: u8 = b'c';
const MESSAGES: u8 = b'm';
const RUNS: u8 = b'r';
const TASKS: u8 = b't';
/// The end of the year 9999 in microseconds. Postgres cannot store every time that fits an `i64`.
const LATEST_MICROS: i64 = 253_402_300_800_000_000;

/// The last conversation of the previous page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AfterConversation {
    /// To the microsecond, as Postgres stores it.
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) id: Uuid,
}

impl AfterConversation {
    pub(crate) fn encode(self) -> String {
        let micros = self.updated_at.timestamp_micros().to_be_bytes();
        seal(CONVERSATIONS, &[micros.as_slice(), self.id.as_bytes()].concat())
    }

    /// None if the text is malformed.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let position = open(CONVERSATIONS, text)?;
        let (micros, id) = position.split_first_chunk::<8>()?;
        let micros = i64::from_be_bytes(*micros);
        if !(0..LATEST_MICROS).contains(&micros) {
            return None;
        }
        let updated_at = DateTime::from_timestamp_micros(micros)?;
        Some(Self {
            updated_at,
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

/// The oldest message of the previous page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BeforeMessage {
    pub(crate) seq: i64,
}

impl BeforeMessage {
    pub(crate) fn encode(self) -> String {
        seal(MESSAGES, &self.seq.to_be_bytes())
    }

    /// None if the text is malformed.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        number(MESSAGES, text).map(|seq| Self { seq })
    }
}

/// The oldest run of the previous page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BeforeRun {
    pub(crate) id: Uuid,
}

impl BeforeRun {
    pub(crate) fn encode(self) -> String {
        seal(RUNS, self.id.as_bytes())
    }

    /// None if the text is malformed.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let id = Uuid::from_slice(&open(RUNS, text)?).ok()?;
        Some(Self { id })
    }
}

/// The number of tasks on the previous pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskOffset {
    pub(crate) offset: i64,
}

impl TaskOffset {
    pub(crate) fn encode(self) -> String {
        seal(TASKS, &self.offset.to_be_bytes())
    }

    /// None if the text is malformed.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        number(TASKS, text).map(|offset| Self { offset })
    }
}

fn seal(list: u8, position: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([&[list], position].concat())
}

fn open(list: u8, text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (first, position) = bytes.split_first()?;
    (*first == list).then(|| position.to_vec())
}

fn number(list: u8, text: &str) -> Option<i64> {
    let position = open(list, text)?;
    let number = i64::from_be_bytes(position.try_into().ok()?);
    (number >= 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(micros: i64) -> AfterConversation {
        AfterConversation {
            updated_at: DateTime::from_timestamp_micros(micros).unwrap(),
            id: Uuid::now_v7(),
        }
    }

    #[test]
    fn decoding_reverses_encoding() {
        for micros in [0, 1, 1_790_000_000_123_456, LATEST_MICROS - 1] {
            let cursor = conversation(micros);
            assert_eq!(AfterConversation::decode(&cursor.encode()), Some(cursor));
        }
        let run = BeforeRun { id: Uuid::now_v7() };
        assert_eq!(BeforeRun::decode(&run.encode()), Some(run));
        for number in [0, 1, 4_711, i64::MAX] {
            let message = BeforeMessage { seq: number };
            assert_eq!(BeforeMessage::decode(&message.encode()), Some(message));
            let tasks = TaskOffset { offset: number };
            assert_eq!(TaskOffset::decode(&tasks.encode()), Some(tasks));
        }
    }

    #[test]
    fn a_cursor_needs_no_escaping_in_a_url() {
        let cursor = conversation(1_790_000_000_123_456).encode();
        assert!(
            cursor
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "-_".contains(char)),
            "{cursor}"
        );
    }

    #[test]
    fn any_other_text_is_malformed() {
        let whole = conversation(1).encode();
        let mut texts: Vec<_> = (0..whole.len())
            .map(|end| whole.chars().take(end).collect())
            .collect();
        texts.extend(["=", "é", " ", "\0", "null", "AAAA"].map(str::to_owned));
        texts.extend([
            format!("{whole}A"),
            format!("{whole}="),
            format!("{whole}AAAA"),
            format!(" {whole}"),
        ]);
        for text in texts {
            assert_eq!(AfterConversation::decode(&text), None, "{text:?}");
            assert_eq!(BeforeMessage::decode(&text), None, "{text:?}");
            assert_eq!(BeforeRun::decode(&text), None, "{text:?}");
            assert_eq!(TaskOffset::decode(&text), None, "{text:?}");
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_malformed() {
        let message = BeforeMessage { seq: 7 }.encode();
        assert_eq!(TaskOffset::decode(&message), None);
        assert_eq!(AfterConversation::decode(&message), None);
        assert_eq!(BeforeMessage::decode(&TaskOffset { offset: 7 }.encode()), None);
        assert_eq!(BeforeMessage::decode(&conversation(7).encode()), None);
    }

    #[test]
    fn positions_that_postgres_cannot_store_are_malformed() {
        for micros in [-1, i64::MIN, LATEST_MICROS, i64::MAX] {
            let position = [micros.to_be_bytes().as_slice(), Uuid::nil().as_bytes()].concat();
            assert_eq!(
                AfterConversation::decode(&seal(CONVERSATIONS, &position)),
                None,
                "{micros}"
            );
        }
        assert_eq!(BeforeMessage::decode(&BeforeMessage { seq: -1 }.encode()), None);
        assert_eq!(
            TaskOffset::decode(&TaskOffset { offset: i64::MIN }.encode()),
            None
        );
    }
}
