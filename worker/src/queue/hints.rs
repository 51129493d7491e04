//! Takes hints from Redis: a blocking pop of as many as there is room for, on a connection of its own.

use std::time::Duration;

use errand_shared::{Uuid, redis_client::RedisClient};
use redis::{RedisError, aio::MultiplexedConnection};

/// How long one pop waits in Redis: an idle worker sends one command in this time, and a Redis that has stopped to answer
/// is noticed a second later.
const BLOCK: Duration = Duration::from_secs(4);

/// The list of hints, read by this worker.
#[derive(Debug)]
pub(crate) struct Hints {
    redis: RedisClient,
    connection: Option<MultiplexedConnection>,
    garbage: u64,
}

impl Hints {
    /// Nothing is connected yet.
    pub(crate) const fn new(redis: RedisClient) -> Self {
        Self {
            redis,
            connection: None,
            garbage: 0,
        }
    }

    /// Waits for hints and takes at most `room` of them; none if none came in time.
    ///
    /// # Errors
    /// A fault of Redis; the next call connects anew.
    pub(crate) async fn take(&mut self, room: usize) -> Result<Vec<Uuid>, RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.redis.blocking(BLOCK).await?,
        };
        let popped: Option<(String, Vec<Vec<u8>>)> = redis::cmd("BLMPOP")
            .arg(BLOCK.as_secs())
            .arg(1)
            .arg(self.redis.ready_key())
            .arg("LEFT")
            .arg("COUNT")
            .arg(room)
            .query_async(&mut connection)
            .await?;
        self.connection = Some(connection);
        Ok(popped.map_or_else(Vec::new, |(_, entries)| self.decode(&entries)))
    }

    fn decode(&mut self, entries: &[Vec<u8>]) -> Vec<Uuid> {
        let ids: Vec<_> = entries
            .iter()
            .filter_map(|entry| Uuid::from_slice(entry).ok())
            .collect();
        let bad = entries.len() - ids.len();
        if bad > 0 {
            self.garbage += bad as u64;
            tracing::warn!(
                dropped = bad,
                total = self.garbage,
                "entries that are no run ids were dropped"
            );
        }
        ids
    }
}
