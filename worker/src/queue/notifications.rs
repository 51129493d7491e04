//! Receives notifications of ready runs from Redis, on a dedicated connection.
//!
//! While this worker has free slots for all of them, it pops notifications in the order of their arrival. A pop that fills all free slots
//! may have left some behind. From then on [`FairQueue`] chooses, until none is left, so that one user's many messages do not delay another
//! user's single message.

use std::time::Duration;

use errand_shared::signals::{redis_client::RedisClient, wire::ReadyNotice};
use redis::{RedisError, aio::MultiplexedConnection};

use super::fair_queue::FairQueue;

/// How long a pop blocks. An idle worker sends one command per interval, and notices a second later if Redis does not answer.
const BLOCK: Duration = Duration::from_secs(4);

/// The worker's reader of the notification list.
#[derive(Debug)]
pub(crate) struct Notifications {
    redis: RedisClient,
    connection: Option<MultiplexedConnection>,
    fair_queue: FairQueue,
    /// Whether the list may contain more notifications.
    may_have_more: bool,
    malformed: u64,
}

impl Notifications {
    /// Connects on the first [`Self::take`].
    pub(crate) fn new(redis: RedisClient) -> Self {
        Self {
            fair_queue: FairQueue::new(&redis),
            redis,
            connection: None,
            // Notifications may have arrived before this worker.
            may_have_more: true,
            malformed: 0,
        }
    }

    /// Waits for notifications and takes at most `max`. Returns none if none arrived within [`BLOCK`].
    ///
    /// # Errors
    /// A Redis error. The next call opens a new connection.
    pub(crate) async fn take(&mut self, max: usize) -> Result<Vec<ReadyNotice>, RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.redis.blocking(BLOCK).await?,
        };
        let mut notices = Vec::new();
        if self.may_have_more {
            notices = self.fair_queue.take(&mut connection, max).await?;
            self.may_have_more = notices.len() >= max;
        }
        if notices.is_empty() {
            let entries = self.pop(&mut connection, max).await?;
            let was_woken = entries.iter().any(Vec::is_empty);
            self.may_have_more = was_woken || entries.len() >= max;
            notices = self.decode(&entries);
            if notices.is_empty() && was_woken {
                notices = self.fair_queue.take(&mut connection, max).await?;
                self.may_have_more = notices.len() >= max;
            }
        }
        self.connection = Some(connection);
        Ok(notices)
    }

    async fn pop(
        &self,
        connection: &mut MultiplexedConnection,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, RedisError> {
        let popped: Option<(String, Vec<Vec<u8>>)> = redis::cmd("BLMPOP")
            .arg(BLOCK.as_secs())
            .arg(1)
            .arg(self.redis.ready_key())
            .arg("LEFT")
            .arg("COUNT")
            .arg(max)
            .query_async(connection)
            .await?;
        Ok(popped.map_or_else(Vec::new, |(_, entries)| entries))
    }

    /// Drops malformed entries. An empty entry is a signal of another worker that notifications wait in the fair queue.
    fn decode(&mut self, entries: &[Vec<u8>]) -> Vec<ReadyNotice> {
        let notices: Vec<_> = entries
            .iter()
            .filter_map(|entry| ReadyNotice::decode(entry))
            .collect();
        let empty = entries.iter().filter(|entry| entry.is_empty()).count();
        let malformed = entries.len() - notices.len() - empty;
        if malformed > 0 {
            self.malformed += malformed as u64;
            tracing::warn!(
                dropped = malformed,
                total = self.malformed,
                "malformed notifications dropped"
            );
        }
        notices
    }
}
