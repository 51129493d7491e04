//! `errand-api renotify`: rebuilds the queue in Redis from Postgres.

use errand_shared::storage::Pool;
use errand_shared::{
    Uuid,
    signals::{
        redis_client::RedisClient,
        wire::{HEAD_BYTES, ReadyNotice},
    },
    storage::queue::claims,
};

/// Notifications sent in one command.
const PAGE: i64 = 1000;

/// Why not all notifications were sent.
#[derive(Debug, thiserror::Error)]
pub enum RenotifyError {
    /// A database error.
    #[error("Postgres: {0}")]
    Database(#[from] sqlx::Error),
    /// A Redis error.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
}

/// Sends a notification for every run that a worker could claim now, and returns their number. Existing notifications are kept:
/// workers ignore duplicates.
///
/// # Errors
/// After an error it is safe to run this again.
pub async fn renotify(pool: &Pool, redis: &RedisClient) -> Result<u64, RenotifyError> {
    let mut connection = redis.commands();
    let mut after = Uuid::nil();
    let mut sent = 0;
    loop {
        let ready = claims::ready_page(pool, after, PAGE).await?;
        let Some(last) = ready.last() else { return Ok(sent) };
        after = last.run_id;
        sent += ready.len() as u64;
        let notices: Vec<_> = ready.iter().map(ReadyNotice::encode).collect();
        let notices: Vec<_> = notices.iter().map(<[u8; HEAD_BYTES]>::as_slice).collect();
        let () = redis::cmd("RPUSH")
            .arg(redis.ready_key())
            .arg(notices)
            .query_async(&mut connection)
            .await?;
    }
}
