//! Sends a batch of messages as one Redis pipeline.

use redis::{RedisError, Value};

use super::Notice;
use crate::signals::{
    event_log::{self, Append, AppendScript, Mode},
    redis_client::RedisClient,
    wire::HEAD_BYTES,
};

/// Events kept per run. A longer answer is rare; a subscriber that missed more receives the text so far.
const MAX_EVENTS: u32 = 10_000;
/// Lifetime of an open run's event log after its last event: far longer than a run may take.
const OPEN_TTL_MS: u64 = 60 * 60 * 1000;
/// Lifetime of a finished run's event log: time to reconnect. Later, events are built from Postgres.
const FINISHED_TTL_MS: u64 = 60 * 1000;

/// Sends batches to Redis.
#[derive(Debug)]
pub(super) struct Sender {
    redis: RedisClient,
    script: AppendScript,
}

/// Reports to the lease of a lost event that the event was lost.
pub(super) fn mark_lost(notice: &Notice) {
    if let Notice::Event {
        delivery: Some(delivery),
        ..
    } = notice
    {
        delivery.mark_lost();
    }
}

impl Sender {
    pub(super) fn new(redis: RedisClient) -> Self {
        Self {
            redis,
            script: AppendScript::new(),
        }
    }

    /// Sends a batch: all notifications in one command, then the rest in order.
    ///
    /// # Errors
    /// If Redis did not answer in time. Part of the batch may have arrived.
    pub(super) async fn send(&self, batch: &[Notice]) -> Result<(), RedisError> {
        let key = self.redis.ready_key();
        let ready: Vec<[u8; HEAD_BYTES]> = batch
            .iter()
            .filter_map(|notice| match notice {
                Notice::Ready(ready) => Some(ready.encode()),
                _ => None,
            })
            .collect();
        let ready: Vec<&[u8]> = ready.iter().map(<[u8; HEAD_BYTES]>::as_slice).collect();
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        if !ready.is_empty() {
            pipeline.rpush(&key, &ready);
        }
        let others = self.add_others(&mut pipeline, batch);
        let mut replies = self.execute(&pipeline).await?.into_iter();
        let pushed = if ready.is_empty() { None } else { replies.next() };
        let mut error = None;
        for (notice, reply) in others.into_iter().zip(replies) {
            error = error.or(apply_reply(notice, reply).err());
        }
        match pushed {
            Some(Err(error)) if is_wrong_type(&error) => {
                tracing::warn!(%key, "the key of the notifications has another type; removing it");
                let mut retry = redis::pipe();
                retry.unlink(&key).rpush(&key, &ready);
                self.execute(&retry).await.map(drop)
            }
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => error.map_or(Ok(()), Err),
        }
    }

    /// Adds all messages except notifications to the pipeline. Returns them in the order of their commands.
    fn add_others<'a>(&self, pipeline: &mut redis::Pipeline, batch: &'a [Notice]) -> Vec<&'a Notice> {
        let finished_channel = self.redis.finished_channel();
        let mut first = true;
        let mut added = Vec::new();
        for notice in batch {
            match notice {
                Notice::Ready(_) => continue,
                Notice::Finished { run_id, seq, payload } => {
                    // The log receives only the number: readers build the final event from the run's row.
                    let append = Append {
                        mode: Mode::End,
                        run_id: *run_id,
                        seq: *seq,
                        channel: &finished_channel,
                        head: payload,
                        event: &[],
                        max_len: MAX_EVENTS,
                        ttl_ms: FINISHED_TTL_MS,
                    };
                    pipeline.add_command(self.script.command(&self.redis, first, &append));
                    first = false;
                }
                Notice::Event {
                    mode,
                    user_id,
                    run_id,
                    seq,
                    payload,
                    delivery: _,
                } => {
                    let (head, event) = event_log::split_encoded(payload);
                    let append = Append {
                        mode: *mode,
                        run_id: *run_id,
                        seq: *seq,
                        channel: &self.redis.user_channel(*user_id),
                        head,
                        event,
                        max_len: MAX_EVENTS,
                        ttl_ms: OPEN_TTL_MS,
                    };
                    pipeline.add_command(self.script.command(&self.redis, first, &append));
                    first = false;
                }
                Notice::Publish { user_id, payload } => {
                    pipeline.publish(self.redis.user_channel(*user_id), payload.as_slice());
                }
                Notice::AwaitingApproval(waiting) => {
                    pipeline.publish(
                        self.redis.awaiting_approval_channel(),
                        waiting.encode().as_slice(),
                    );
                }
                Notice::Command(command) => {
                    pipeline.publish(self.redis.control_channel(), command.encode().as_slice());
                }
            }
            added.push(notice);
        }
        added
    }

    async fn execute(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.redis.commands();
        self.redis
            .with_timeout(pipeline.query_async(&mut connection))
            .await
    }
}

/// Applies the script's reply to the lease whose event it was.
fn apply_reply(notice: &Notice, reply: Result<Value, RedisError>) -> Result<(), RedisError> {
    let result: i64 = redis::from_redis_value(reply?)?;
    if let Notice::Event {
        delivery: Some(delivery),
        ..
    } = notice
    {
        event_log::apply_result(delivery, result);
    }
    Ok(())
}

/// Whether the key holds a value of another type.
fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}
