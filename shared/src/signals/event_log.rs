//! The log of a run's events: one Redis stream a run, whose entry ids are the events' numbers.
//!
//! A stream refuses an id that is not larger than its last, and the high part of a number is the epoch of the lease
//! under which it is told: so whoever held a run before can append nothing once somebody after them has. Nothing in a log
//! is needed: it can be lost at any time, and whoever reads it can do without.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use redis::{RedisError, Script, streams::StreamRangeReply};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    redis_client::RedisClient,
    wire::{HEAD_BYTES, Head, Kind},
};
use crate::domain::events::Event;

/// Appends and tells. KEYS: the stream. ARGV: how, the number, the channel, the event, what goes before it on the channel,
/// the bounds: entries, milliseconds. Answers how many processes heard it, or why it was not told.
///
/// `append` needs a log that is there; `begin` makes one; `end` makes one too, and tells even what the log refuses. A log
/// that takes nothing for another reason than the number, such as a full Redis, is as good as none.
const APPEND: &str = r"
if ARGV[1] == 'append' and redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], ARGV[2] .. '-0', 'e', ARGV[4])
if type(added) == 'table' and added['err'] then
    if ARGV[1] ~= 'end' then
        if string.find(added['err'], 'equal or smaller', 1, true) then return -2 end
        return -1
    end
else
    redis.call('PEXPIRE', KEYS[1], ARGV[7])
end
return redis.call('PUBLISH', ARGV[3], ARGV[5] .. ARGV[4])
";
const MISSING: i64 = -1;
const REFUSED: i64 = -2;

/// How an event goes into its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only into a log that is there.
    Append,
    /// Into a log that is made if need be.
    Begin,
    /// The same, and it is told even if the log refuses it.
    End,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Begin => "begin",
            Self::End => "end",
        }
    }
}

/// Whether somebody reads a run's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasSubscribers {
    /// Redis has not said yet.
    Unknown,
    /// Nobody does.
    No,
    /// Somebody does.
    Yes,
}

/// What became of the events of one lease, for the one that tells them. The notifier writes it, the teller reads it.
#[derive(Debug, Default)]
pub struct DeliveryState {
    /// As [`HasSubscribers`] has them in order.
    watched: AtomicU8,
    doubtful: AtomicBool,
    missing: AtomicBool,
    silenced: AtomicBool,
    wake: Notify,
}

impl DeliveryState {
    /// Whether somebody reads the run's events, as far as is known.
    pub fn has_subscribers(&self) -> HasSubscribers {
        match self.watched.load(Ordering::Relaxed) {
            0 => HasSubscribers::Unknown,
            1 => HasSubscribers::No,
            _ => HasSubscribers::Yes,
        }
    }

    /// Says that somebody has begun to read them.
    pub fn mark_subscribed(&self) {
        self.watched.store(HasSubscribers::Yes as u8, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Says that the log does not show how far the run has come.
    pub fn mark_stale(&self) {
        self.doubtful.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Whether the log may lack something that was told; asking takes the answer back.
    pub fn take_stale(&self) -> bool {
        self.doubtful.swap(false, Ordering::Relaxed)
    }

    /// Whether there was no log; asking takes the answer back.
    pub fn take_missing(&self) -> bool {
        self.missing.swap(false, Ordering::Relaxed)
    }

    /// Whether the lease is over: nothing more is to be told under it.
    pub fn is_closed(&self) -> bool {
        self.silenced.load(Ordering::Relaxed)
    }

    /// Says that the lease is over.
    pub fn close(&self) {
        self.silenced.store(true, Ordering::Relaxed);
    }

    /// Ends [`Self::changed`] for another reason: who tells has something to tell.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Ends when something of this has changed.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Takes the script's answer.
    pub(crate) fn take(&self, answer: i64) {
        match answer {
            MISSING => {
                self.missing.store(true, Ordering::Relaxed);
                self.wake.notify_one();
            }
            // There are events of a later lease.
            REFUSED => self.close(),
            heard => {
                let watched = if heard > 0 {
                    HasSubscribers::Yes
                } else {
                    HasSubscribers::No
                } as u8;
                if self.watched.swap(watched, Ordering::Relaxed) != watched {
                    self.wake.notify_one();
                }
            }
        }
    }

    /// The event went nowhere. Readers who come, or come back, say so.
    pub(crate) fn lost(&self) {
        self.watched.store(HasSubscribers::No as u8, Ordering::Relaxed);
        self.doubtful.store(true, Ordering::Relaxed);
    }
}

/// The script's call for one event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Append<'a> {
    pub(crate) mode: Mode,
    pub(crate) run_id: Uuid,
    pub(crate) seq: i64,
    pub(crate) channel: &'a str,
    pub(crate) head: &'a [u8],
    pub(crate) event: &'a [u8],
    pub(crate) max_len: u32,
    pub(crate) ttl_ms: u64,
}

/// The script, by its text or by its name.
#[derive(Debug)]
pub(crate) struct AppendScript(Script);

impl AppendScript {
    pub(crate) fn new() -> Self {
        Self(Script::new(APPEND))
    }

    /// The command; the first of a pipeline brings the script's text, those after it need only its hash.
    pub(crate) fn command(&self, redis: &RedisClient, first: bool, append: &Append<'_>) -> redis::Cmd {
        let mut command = if first {
            let mut command = redis::cmd("EVAL");
            command.arg(APPEND);
            command
        } else {
            let mut command = redis::cmd("EVALSHA");
            command.arg(self.0.get_hash());
            command
        };
        command
            .arg(1)
            .arg(redis.run_key(append.run_id))
            .arg(append.mode.name())
            .arg(append.seq)
            .arg(append.channel)
            .arg(append.event)
            .arg(append.head)
            .arg(append.max_len)
            .arg(append.ttl_ms);
        command
    }
}

/// Writes an event for a user's channel.
///
/// # Errors
/// If it can't be written as JSON.
pub(crate) fn encode(user_id: Uuid, event: &Event<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let head = Head {
        kind: Kind::Event,
        user_id,
        run_id: event.run_id,
        number: event.seq,
    };
    let mut message = Vec::with_capacity(384);
    message.extend_from_slice(&head.encode());
    serde_json::to_writer(&mut message, event)?;
    Ok(message)
}

/// Parts what [`encode`] has put together: the head, and the event as JSON.
pub(crate) fn part(payload: &[u8]) -> (&[u8], &[u8]) {
    payload.split_at_checked(HEAD_BYTES).unwrap_or((payload, &[]))
}

/// Splits what came over a user's channel into the run, the number and the event as JSON. None if it is not ours.
pub fn split(payload: &[u8]) -> Option<(Uuid, i64, &[u8])> {
    let (head, event) = Head::decode(payload)?;
    (head.kind == Kind::Event).then_some((head.run_id, head.number, event))
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event's number.
    pub seq: i64,
    /// The event as JSON; empty for one that ended the run, which is made from the run's row.
    pub event: Vec<u8>,
}

impl Entry {
    /// The event, if it can be read.
    pub fn read(&self) -> Option<Event<'static>> {
        serde_json::from_slice(&self.event).ok()
    }
}

/// Reads a run's log from its beginning; empty if there is none.
///
/// # Errors
/// A fault of Redis.
pub async fn read(redis: &RedisClient, run_id: Uuid) -> Result<Vec<Entry>, RedisError> {
    let mut command = redis::cmd("XRANGE");
    command.arg(redis.run_key(run_id)).arg("-").arg("+");
    let mut connection = redis.commands();
    let reply: StreamRangeReply = redis.in_time(command.query_async(&mut connection)).await?;
    Ok(reply
        .ids
        .into_iter()
        .filter_map(|mut entry| {
            let seq = entry.id.split_once('-')?.0.parse().ok()?;
            let event = match entry.map.remove("e") {
                Some(redis::Value::BulkString(event)) => event,
                _ => Vec::new(),
            };
            Some(Entry { seq, event })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::events::EventData;

    #[test]
    fn what_goes_over_a_users_channel_comes_apart_as_it_was_put_together() {
        let event = Event {
            seq: 7,
            run_id: Uuid::now_v7(),
            conversation_id: Uuid::now_v7(),
            attempt: 1,
            at: chrono::DateTime::UNIX_EPOCH,
            data: EventData::Started {},
        };
        let payload = encode(Uuid::now_v7(), &event).unwrap();
        let json = serde_json::to_vec(&event).unwrap();
        assert_eq!(split(&payload), Some((event.run_id, 7, json.as_slice())));
        assert_eq!(part(&payload).1, json);
        assert_eq!(split(b"short"), None);
    }
}
