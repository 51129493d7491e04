//! A batch of notices as one pipeline.

use redis::{RedisError, Value};

use super::Notice;
use crate::signals::wire::HEAD_BYTES;
use crate::{
    service::config::EventSettings,
    signals::{
        event_log::{self, Append, AppendScript, Mode},
        redis_client::RedisClient,
    },
};

/// Sends batches to Redis.
#[derive(Debug)]
pub(super) struct Sender {
    redis: RedisClient,
    script: AppendScript,
    max_len: u32,
    ttl_ms: u64,
    ended_ttl_ms: u64,
}

/// Says that a notice went nowhere, to who wants to know.
pub(super) fn lost(notice: &Notice) {
    if let Notice::Event {
        feedback: Some(feedback),
        ..
    } = notice
    {
        feedback.lost();
    }
}

impl Sender {
    pub(super) fn new(redis: RedisClient, events: EventSettings) -> Self {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let ttl_ms = millis(events.run_events_ttl_seconds);
        Self {
            redis,
            script: AppendScript::new(),
            max_len: events.run_events_max,
            ttl_ms,
            ended_ttl_ms: millis(events.run_events_ended_ttl_seconds).min(ttl_ms),
        }
    }

    /// Sends a batch: all rings in one command, then the rest in its order.
    ///
    /// # Errors
    /// If Redis did not answer in time; part of it may have arrived.
    pub(super) async fn send(&self, batch: &[Notice]) -> Result<(), RedisError> {
        let key = self.redis.ready_key();
        let rings: Vec<[u8; HEAD_BYTES]> = batch
            .iter()
            .filter_map(|notice| match notice {
                Notice::Ready(hint) => Some(hint.encode()),
                _ => None,
            })
            .collect();
        let rings: Vec<&[u8]> = rings.iter().map(<[u8; HEAD_BYTES]>::as_slice).collect();
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        if !rings.is_empty() {
            pipeline.rpush(&key, &rings);
        }
        let told = self.add(&mut pipeline, batch);
        let mut answers = self.execute(&pipeline).await?.into_iter();
        let rung = if rings.is_empty() { None } else { answers.next() };
        let mut fault = None;
        for (notice, answer) in told.into_iter().zip(answers) {
            fault = fault.or(take(notice, answer).err());
        }
        match rung {
            Some(Err(error)) if is_of_another_type(&error) => {
                tracing::warn!(%key, "something else stands in the place of the list of hints; it is removed");
                let mut again = redis::pipe();
                again.unlink(&key).rpush(&key, &rings);
                self.execute(&again).await.map(drop)
            }
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => fault.map_or(Ok(()), Err),
        }
    }

    /// Adds all but the rings; gives the notices whose commands they are.
    fn add<'a>(&self, pipeline: &mut redis::Pipeline, batch: &'a [Notice]) -> Vec<&'a Notice> {
        let finals = self.redis.finals_channel();
        let mut first = true;
        let mut told = Vec::new();
        for notice in batch {
            match notice {
                Notice::Ready(_) => continue,
                Notice::Finished { run_id, seq, payload } => {
                    // The log gets the number only: the event is made from the row.
                    let append = Append {
                        mode: Mode::End,
                        run_id: *run_id,
                        seq: *seq,
                        channel: &finals,
                        head: payload,
                        event: &[],
                        max_len: self.max_len,
                        ttl_ms: self.ended_ttl_ms,
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
                    feedback: _,
                } => {
                    let (head, event) = event_log::part(payload);
                    let append = Append {
                        mode: *mode,
                        run_id: *run_id,
                        seq: *seq,
                        channel: &self.redis.user_channel(*user_id),
                        head,
                        event,
                        max_len: self.max_len,
                        ttl_ms: self.ttl_ms,
                    };
                    pipeline.add_command(self.script.command(&self.redis, first, &append));
                    first = false;
                }
                Notice::Publish { user_id, payload } => {
                    pipeline.publish(self.redis.user_channel(*user_id), payload.as_slice());
                }
                Notice::AwaitingApproval(news) => {
                    pipeline.publish(self.redis.parked_channel(), news.encode().as_slice());
                }
                Notice::Command(call) => {
                    pipeline.publish(self.redis.control_channel(), call.encode().as_slice());
                }
            }
            told.push(notice);
        }
        told
    }

    async fn execute(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.redis.commands();
        self.redis.in_time(pipeline.query_async(&mut connection)).await
    }
}

/// Hands the script's answer to who wants to know it.
fn take(notice: &Notice, answer: Result<Value, RedisError>) -> Result<(), RedisError> {
    let answer: i64 = redis::from_redis_value(answer?)?;
    if let Notice::Event {
        feedback: Some(feedback),
        ..
    } = notice
    {
        feedback.take(answer);
    }
    Ok(())
}

/// Whether Redis says that a key does not hold what the command is for.
fn is_of_another_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}
