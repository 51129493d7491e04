//! What API instances call out to the workers. Only hints: one that is lost costs a delay.

use uuid::Uuid;

/// A call to every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Somebody has begun to read this user's events: tell them in full.
    Watch(Uuid),
    /// Somebody reads this run, and its log does not show how far it has come: tell it.
    Retell(Uuid),
    /// This run's user wants it cancelled; the mark is in Postgres.
    Cancel(Uuid),
}

impl Call {
    /// As it goes over the channel: a letter and an id.
    pub fn encode(self) -> [u8; 17] {
        let (letter, id) = match self {
            Self::Watch(id) => (b'w', id),
            Self::Retell(id) => (b'r', id),
            Self::Cancel(id) => (b'c', id),
        };
        let mut payload = [letter; 17];
        if let Some(rest) = payload.last_chunk_mut() {
            *rest = id.into_bytes();
        }
        payload
    }

    /// Reads a call. None if it is none that this program knows.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (letter, id) = payload.split_first()?;
        let id = Uuid::from_slice(id).ok()?;
        match letter {
            b'w' => Some(Self::Watch(id)),
            b'r' => Some(Self::Retell(id)),
            b'c' => Some(Self::Cancel(id)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_back_as_they_were_sent_and_others_are_none() {
        let id = Uuid::now_v7();
        for call in [Call::Watch(id), Call::Retell(id), Call::Cancel(id)] {
            assert_eq!(Call::decode(&call.encode()), Some(call));
        }
        for strange in [b"".as_slice(), b"w", b"?0123456789abcdef", b"w0123456789abcdef!"] {
            assert_eq!(Call::decode(strange), None);
        }
    }
}
