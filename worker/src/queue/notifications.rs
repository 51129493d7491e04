//! Takes hints from Redis, on a connection of its own: as they come while there is room for all, and by turns of the users
//! when there is not.
//!
//! While this worker has room, a blocking pop takes what comes. A pop that has filled the room may have left something, and from
//! then on [`Turns`] takes, until all is taken: so nobody's many messages go before another's one.

use std::time::Duration;

use errand_shared::signals::{redis_client::RedisClient, wire::ReadyNotice};
use redis::{RedisError, aio::MultiplexedConnection};

use super::fair_queue::Turns;

/// How long one pop waits in Redis: an idle worker sends one command in this time, and a Redis that has stopped to answer
/// is noticed a second later.
const BLOCK: Duration = Duration::from_secs(4);

/// The list of hints, read by this worker.
#[derive(Debug)]
pub(crate) struct Hints {
    redis: RedisClient,
    connection: Option<MultiplexedConnection>,
    turns: Turns,
    /// Whether more hints may wait than this worker has taken.
    more: bool,
    garbage: u64,
}

impl Hints {
    /// Nothing is connected yet.
    pub(crate) fn new(redis: RedisClient) -> Self {
        Self {
            turns: Turns::new(&redis),
            redis,
            connection: None,
            // Who was here before may have left some.
            more: true,
            garbage: 0,
        }
    }

    /// Waits for hints and takes at most `room` of them; none if none came in time.
    ///
    /// # Errors
    /// A fault of Redis; the next call connects anew.
    pub(crate) async fn take(&mut self, room: usize) -> Result<Vec<ReadyNotice>, RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.redis.blocking(BLOCK).await?,
        };
        let mut hints = Vec::new();
        if self.more {
            hints = self.turns.take(&mut connection, room).await?;
            self.more = hints.len() >= room;
        }
        if hints.is_empty() {
            let entries = self.pop(&mut connection, room).await?;
            let woken = entries.iter().any(Vec::is_empty);
            self.more = woken || entries.len() >= room;
            hints = self.decode(&entries);
            if hints.is_empty() && woken {
                hints = self.turns.take(&mut connection, room).await?;
                self.more = hints.len() >= room;
            }
        }
        self.connection = Some(connection);
        Ok(hints)
    }

    async fn pop(
        &self,
        connection: &mut MultiplexedConnection,
        room: usize,
    ) -> Result<Vec<Vec<u8>>, RedisError> {
        let popped: Option<(String, Vec<Vec<u8>>)> = redis::cmd("BLMPOP")
            .arg(BLOCK.as_secs())
            .arg(1)
            .arg(self.redis.ready_key())
            .arg("LEFT")
            .arg("COUNT")
            .arg(room)
            .query_async(connection)
            .await?;
        Ok(popped.map_or_else(Vec::new, |(_, entries)| entries))
    }

    /// An empty entry is a worker's word that hints wait for their turn.
    fn decode(&mut self, entries: &[Vec<u8>]) -> Vec<ReadyNotice> {
        let hints: Vec<_> = entries
            .iter()
            .filter_map(|entry| ReadyNotice::decode(entry))
            .collect();
        let empty = entries.iter().filter(|entry| entry.is_empty()).count();
        let bad = entries.len() - hints.len() - empty;
        if bad > 0 {
            self.garbage += bad as u64;
            tracing::warn!(
                dropped = bad,
                total = self.garbage,
                "entries that are no hints were dropped"
            );
        }
        hints
    }
}
