//! The bell and the news, off everybody's path: what is sent here goes to Redis in one pipeline per flush.
//!
//! Nothing depends on its arrival. A ring that is lost is rung again by the rescuer, news that is lost is read from the
//! row; so a full buffer or a dead Redis costs a delay, and is counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    chat::ChatResponse,
    finals,
    kill_point::{self, KillPoint},
    lifecycle::Lifecycle,
    redis_client::RedisClient,
};

/// Notices kept while Redis does not answer; more are dropped.
const BUFFER: usize = 65_536;
/// Notices sent in one pipeline, at most.
const BATCH: usize = 1024;

#[derive(Debug)]
enum Notice {
    Ring(Uuid),
    Final(Vec<u8>),
}

/// Sends rings and news; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notifier {
    notices: mpsc::Sender<Notice>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
}

impl Notifier {
    /// A notifier whose sender runs on the process's tracker until [`Self::close`].
    pub fn start(redis: RedisClient, lifecycle: &Lifecycle) -> Self {
        let (notices, inbox) = mpsc::channel(BUFFER);
        let notifier = Self {
            notices,
            lost: Arc::default(),
            closing: CancellationToken::new(),
        };
        lifecycle.spawn(send_all(
            redis,
            inbox,
            Arc::clone(&notifier.lost),
            notifier.closing.clone(),
        ));
        notifier
    }

    /// Rings the bell for a run that can be claimed.
    pub fn ring(&self, run_id: Uuid) {
        self.put(Notice::Ring(run_id));
    }

    /// Tells every API instance that a run has ended. Only after the commit that ended it.
    pub fn tell_final(&self, response: &ChatResponse) {
        match finals::encode(response) {
            Ok(payload) => self.put(Notice::Final(payload)),
            Err(error) => {
                tracing::error!(%error, run.id = %response.run_id, "the answer could not be encoded");
            }
        }
    }

    /// How many notices were lost to a full buffer or to Redis.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sends what is buffered, then ends the sender.
    pub fn close(&self) {
        self.closing.cancel();
    }

    fn put(&self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn send_all(
    redis: RedisClient,
    mut inbox: mpsc::Receiver<Notice>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut healthy = true;
    loop {
        let received = tokio::select! {
            received = inbox.recv_many(&mut batch, BATCH) => received,
            () = closing.cancelled() => {
                inbox.close();
                inbox.recv_many(&mut batch, BATCH).await
            }
        };
        if received == 0 {
            return;
        }
        match send(&redis, &batch).await {
            Ok(()) => {
                if batch.iter().any(|notice| matches!(notice, Notice::Final(_))) {
                    kill_point::reached(KillPoint::NewsSent);
                }
                if !healthy {
                    tracing::info!("Redis answers again");
                }
                healthy = true;
            }
            Err(error) => {
                lost.fetch_add(received as u64, Ordering::Relaxed);
                if healthy {
                    tracing::warn!(%error, "Redis does not take notices; runs are found by the sweep");
                }
                healthy = false;
            }
        }
        batch.clear();
    }
}

async fn send(redis: &RedisClient, batch: &[Notice]) -> Result<(), redis::RedisError> {
    let key = redis.ready_key();
    let mut pipeline = redis::pipe();
    let rings: Vec<&[u8]> = batch
        .iter()
        .filter_map(|notice| match notice {
            Notice::Ring(id) => Some(id.as_bytes().as_slice()),
            Notice::Final(_) => None,
        })
        .collect();
    if !rings.is_empty() {
        pipeline.rpush(&key, &rings).ignore();
    }
    let channel = redis.finals_channel();
    for notice in batch {
        if let Notice::Final(payload) = notice {
            pipeline.publish(&channel, payload.as_slice()).ignore();
        }
    }
    match execute(redis, &pipeline).await {
        Err(error) if is_of_another_type(&error) => {
            tracing::warn!(%key, "something else stands in the place of the list of hints; it is removed");
            execute(
                redis,
                redis::pipe().unlink(&key).ignore().rpush(&key, &rings).ignore(),
            )
            .await
        }
        sent => sent,
    }
}

async fn execute(redis: &RedisClient, pipeline: &redis::Pipeline) -> Result<(), redis::RedisError> {
    let mut connection = redis.commands();
    match tokio::time::timeout(redis.timeout(), pipeline.query_async(&mut connection)).await {
        Ok(sent) => sent,
        Err(elapsed) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed).into()),
    }
}

/// Whether Redis says that a key does not hold what the command is for.
fn is_of_another_type(error: &redis::RedisError) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().any(|(_, error)| error.code() == "WRONGTYPE"))
}
