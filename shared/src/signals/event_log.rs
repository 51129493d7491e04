//! The event log of a run: one Redis stream per run, whose entry IDs are the event numbers.
//!
//! A stream rejects an ID that is not larger than its last one, and the high bits of an event number are the epoch of the
//! lease. This fences the log: once a later holder of the run has published an event, an earlier holder can append nothing.
//! The log may be lost at any time. Readers then use what Postgres has.

use redis::{RedisError, Script, streams::StreamRangeReply};
use uuid::Uuid;

use super::{
    delivery::DeliveryState,
    redis_client::RedisClient,
    wire::{HEAD_BYTES, Head, Kind},
};
use crate::domain::events::Event;

/// Appends an event to the log and publishes it. KEYS: the stream. ARGV: mode, event number, channel, event, head of the
/// message, maximum number of entries, lifetime in milliseconds. Returns the number of receivers, or a negative reason why
/// the event was not published.
///
/// Mode `append` requires an existing log; `begin` creates one; `end` creates one too and publishes even if the log rejects
/// the event. If the stream accepts nothing for another reason than the number, such as a full Redis, the log counts as
/// missing.
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
/// The script's result if there is no log.
const MISSING: i64 = -1;
/// The script's result if the log has events of a later lease.
const REJECTED: i64 = -2;

/// How an event is added to its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Only if the log exists.
    Append,
    /// Creates the log if it does not exist.
    Begin,
    /// As [`Self::Begin`], and the event is published even if the log rejects it.
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

/// Applies the script's result to the state of the lease whose event it was.
pub(super) fn apply_result(state: &DeliveryState, result: i64) {
    match result {
        MISSING => state.mark_log_missing(),
        REJECTED => state.close(),
        receivers => state.set_receivers(receivers),
    }
}

/// The arguments of the script for one event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Append<'a> {
    pub(crate) mode: Mode,
    pub(crate) run_id: Uuid,
    pub(crate) seq: i64,
    pub(crate) channel: &'a str,
    /// Published before the event.
    pub(crate) head: &'a [u8],
    pub(crate) event: &'a [u8],
    pub(crate) max_len: u32,
    pub(crate) ttl_ms: u64,
}

/// The script, called by its text or by its hash.
#[derive(Debug)]
pub(crate) struct AppendScript(Script);

impl AppendScript {
    pub(crate) fn new() -> Self {
        Self(Script::new(APPEND))
    }

    /// The command. The first one in a pipeline sends the script's text, the following ones only its hash.
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

/// Encodes an event for the user's channel: head, then JSON.
///
/// # Errors
/// If the event cannot be written as JSON.
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

/// Splits what [`encode`] returned into the head and the event's JSON. Only the JSON is stored in the log.
pub(crate) fn split_encoded(message: &[u8]) -> (&[u8], &[u8]) {
    message.split_at_checked(HEAD_BYTES).unwrap_or((message, &[]))
}

/// Decodes a message from a user's channel into the run, the event number and the event's JSON. None if it is not an event.
pub fn decode(message: &[u8]) -> Option<(Uuid, i64, &[u8])> {
    let (head, event) = Head::decode(message)?;
    (head.kind == Kind::Event).then_some((head.run_id, head.number, event))
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The event number.
    pub seq: i64,
    /// The event's JSON. Empty for a final event, which readers build from the run's row.
    pub event: Vec<u8>,
}

impl LogEntry {
    /// The event, if its JSON is valid.
    pub fn parse(&self) -> Option<Event<'static>> {
        serde_json::from_slice(&self.event).ok()
    }
}

/// Reads the whole log of a run. Empty if the run has no log.
///
/// # Errors
/// If Redis fails or does not answer in time.
pub async fn read(redis: &RedisClient, run_id: Uuid) -> Result<Vec<LogEntry>, RedisError> {
    let mut command = redis::cmd("XRANGE");
    command.arg(redis.run_key(run_id)).arg("-").arg("+");
    let mut connection = redis.commands();
    let reply: StreamRangeReply = redis.with_timeout(command.query_async(&mut connection)).await?;
    Ok(reply
        .ids
        .into_iter()
        .filter_map(|mut entry| {
            let seq = entry.id.split_once('-')?.0.parse().ok()?;
            let event = match entry.map.remove("e") {
                Some(redis::Value::BulkString(event)) => event,
                _ => Vec::new(),
            };
            Some(LogEntry { seq, event })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::events::EventData;

    #[test]
    fn an_event_survives_a_round_trip() {
        let event = Event {
            seq: 7,
            run_id: Uuid::now_v7(),
            conversation_id: Uuid::now_v7(),
            attempt: 1,
            at: chrono::DateTime::UNIX_EPOCH,
            data: EventData::Started {},
        };
        let message = encode(Uuid::now_v7(), &event).unwrap();
        let json = serde_json::to_vec(&event).unwrap();
        assert_eq!(decode(&message), Some((event.run_id, 7, json.as_slice())));
        assert_eq!(split_encoded(&message).1, json);
    }
}
