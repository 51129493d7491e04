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

/// Runs rung in one command.
const PAGE: i64 = 1000;

/// Why the queue could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RenotifyError {
    /// Postgres failed.
    #[error("Postgres: {0}")]
    Database(#[from] sqlx::Error),
    /// Redis failed.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
}

/// Rings for every run that is ready. Rings that were there stay: a doubled one is harmless. Returns how many.
///
/// # Errors
/// A fault of Postgres or Redis; running it again is safe.
pub async fn renotify(pool: &Pool, redis: &RedisClient) -> Result<u64, RenotifyError> {
    let mut connection = redis.commands();
    let mut after = Uuid::nil();
    let mut rung = 0;
    loop {
        let ready = claims::ready_page(pool, after, PAGE).await?;
        let Some(last) = ready.last() else { return Ok(rung) };
        after = last.run_id;
        rung += ready.len() as u64;
        let hints: Vec<_> = ready.iter().map(ReadyNotice::encode).collect();
        let hints: Vec<_> = hints.iter().map(<[u8; HEAD_BYTES]>::as_slice).collect();
        let () = redis::cmd("RPUSH")
            .arg(redis.ready_key())
            .arg(hints)
            .query_async(&mut connection)
            .await?;
    }
}
