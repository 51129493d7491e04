//! The format of everything that the programs send over Redis: a fixed head, then a body.
//!
//! The head names the kind of message, the user, the run and a number, so that a receiver can route or drop a message
//! without parsing the body. A receiver ignores what it cannot decode, because a newer program may have sent it.

use uuid::Uuid;

/// Bytes of the head: kind, user, run, number (big-endian).
pub const HEAD_BYTES: usize = 1 + 16 + 16 + 8;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Notification to the workers: a run is ready to be claimed. No body.
    Ready,
    /// A run reached a final state. The number is that of the final event, the body is described in
    /// [`run_finished`](super::run_finished).
    Finished,
    /// A run waits for its user's approval. The number is the run's epoch. No body.
    AwaitingApproval,
    /// A run event. The number is the event's, the body its JSON.
    Event,
    /// Command to the workers: a client subscribed to this user's events. No body.
    Subscribe,
    /// Command to the workers: publish this run's current text again. No body.
    Resend,
    /// Command to the workers: the user cancelled this run; the row in Postgres says so already. No body.
    Cancel,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Ready,
        Self::Finished,
        Self::AwaitingApproval,
        Self::Event,
        Self::Subscribe,
        Self::Resend,
        Self::Cancel,
    ];

    /// The first byte of a message. `worker/src/queue` contains a script that relies on `r` for [`Self::Ready`].
    const fn byte(self) -> u8 {
        match self {
            Self::Ready => b'r',
            Self::Finished => b'f',
            Self::AwaitingApproval => b'a',
            Self::Event => b'e',
            Self::Subscribe => b's',
            Self::Resend => b'n',
            Self::Cancel => b'c',
        }
    }
}

/// The head of a message. Members that a kind does not use are nil or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the message is about.
    pub kind: Kind,
    /// The user whose run it is.
    pub user_id: Uuid,
    /// The run.
    pub run_id: Uuid,
    /// An event number or an epoch, depending on the kind.
    pub number: i64,
}

impl Head {
    /// The encoded head.
    pub fn encode(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let parts: [&[u8]; 4] = [
            &[self.kind.byte()],
            self.user_id.as_bytes(),
            self.run_id.as_bytes(),
            &self.number.to_be_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// Splits a message into its head and its body. None if this program does not know the message.
    pub fn decode(message: &[u8]) -> Option<(Self, &[u8])> {
        let (byte, rest) = message.split_first()?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.byte() == *byte)?;
        let (user, rest) = rest.split_first_chunk()?;
        let (run, rest) = rest.split_first_chunk()?;
        let (number, body) = rest.split_first_chunk()?;
        let head = Self {
            kind,
            user_id: Uuid::from_bytes(*user),
            run_id: Uuid::from_bytes(*run),
            number: i64::from_be_bytes(*number),
        };
        Some((head, body))
    }
}

/// Notifies the workers that a run is ready to be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyNotice {
    /// The user, by whom workers share their slots fairly.
    pub user_id: Uuid,
    /// The run.
    pub run_id: Uuid,
}

impl ReadyNotice {
    /// The entry in the list of notifications.
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        Head {
            kind: Kind::Ready,
            user_id: self.user_id,
            run_id: self.run_id,
            number: 0,
        }
        .encode()
    }

    /// Decodes an entry of the list. None if it is not a notification.
    pub fn decode(entry: &[u8]) -> Option<Self> {
        match Head::decode(entry)? {
            (head, []) if head.kind == Kind::Ready => Some(Self {
                user_id: head.user_id,
                run_id: head.run_id,
            }),
            _ => None,
        }
    }
}

/// What the API asks of all workers. A lost command costs a delay, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCommand {
    /// A client subscribed to this user's events: publish them in full.
    Subscribe(Uuid),
    /// A client reads this run, and the event log lacks its current text: publish it again.
    Resend(Uuid),
    /// The user cancelled this run.
    Cancel(Uuid),
}

impl WorkerCommand {
    /// The message on the control channel.
    pub fn encode(self) -> [u8; HEAD_BYTES] {
        let (kind, user_id, run_id) = match self {
            Self::Subscribe(user) => (Kind::Subscribe, user, Uuid::nil()),
            Self::Resend(run) => (Kind::Resend, Uuid::nil(), run),
            Self::Cancel(run) => (Kind::Cancel, Uuid::nil(), run),
        };
        let number = 0;
        Head {
            kind,
            user_id,
            run_id,
            number,
        }
        .encode()
    }

    /// Decodes a message. None if this program does not know the command.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (head, _) = Head::decode(message)?;
        match head.kind {
            Kind::Subscribe => Some(Self::Subscribe(head.user_id)),
            Kind::Resend => Some(Self::Resend(head.run_id)),
            Kind::Cancel => Some(Self::Cancel(head.run_id)),
            _ => None,
        }
    }
}

/// Notifies the API that a run waits for its user's approval, so that a waiting request can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwaitingApproval {
    /// The run.
    pub run_id: Uuid,
    /// The epoch in which it waits.
    pub epoch: i32,
}

impl AwaitingApproval {
    /// The message on the channel of waiting runs.
    pub fn encode(self) -> [u8; HEAD_BYTES] {
        Head {
            kind: Kind::AwaitingApproval,
            user_id: Uuid::nil(),
            run_id: self.run_id,
            number: i64::from(self.epoch),
        }
        .encode()
    }

    /// Decodes a message. None if it is not of this kind.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (head, _) = Head::decode(message)?;
        let epoch = i32::try_from(head.number).ok()?;
        (head.kind == Kind::AwaitingApproval).then_some(Self {
            run_id: head.run_id,
            epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_a_round_trip() {
        for kind in Kind::ALL {
            let head = Head {
                kind,
                user_id: Uuid::now_v7(),
                run_id: Uuid::now_v7(),
                number: i64::MIN + 7,
            };
            let mut message = head.encode().to_vec();
            message.extend_from_slice(b"body");
            assert_eq!(Head::decode(&message), Some((head, b"body".as_slice())));
            for cut in 0..HEAD_BYTES {
                assert_eq!(Head::decode(&message[..cut]), None, "cut after {cut} bytes");
            }
        }
        assert_eq!(Head::decode(&[b'?'; HEAD_BYTES]), None);
    }

    #[test]
    fn messages_without_a_body_survive_a_round_trip() {
        let id = Uuid::now_v7();
        let ready = ReadyNotice {
            user_id: Uuid::now_v7(),
            run_id: id,
        };
        assert_eq!(ReadyNotice::decode(&ready.encode()), Some(ready));
        for command in [
            WorkerCommand::Subscribe(id),
            WorkerCommand::Resend(id),
            WorkerCommand::Cancel(id),
        ] {
            assert_eq!(WorkerCommand::decode(&command.encode()), Some(command));
            assert_eq!(ReadyNotice::decode(&command.encode()), None);
        }
        let waiting = AwaitingApproval { run_id: id, epoch: 7 };
        assert_eq!(AwaitingApproval::decode(&waiting.encode()), Some(waiting));
        assert_eq!(WorkerCommand::decode(&waiting.encode()), None);
    }
}
