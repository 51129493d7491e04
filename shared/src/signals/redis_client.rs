//! How the programs reach Redis, and what our keys are called.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection, PubSub},
};
use uuid::Uuid;

use crate::service::config::RedisSettings;

/// A way to Redis that may be down at any time: every connection is made when first used and made again after a fault.
#[derive(Clone)]
pub struct RedisClient {
    client: Client,
    commands: ConnectionManager,
    prefix: Arc<str>,
    timeout: Duration,
}

impl std::fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisClient")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RedisClient {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// If the URL is not one of Redis.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let client = Client::open(settings.redis_url.reveal())?;
        let commands = client.get_connection_manager_lazy(
            ConnectionManagerConfig::new()
                .set_connection_timeout(Some(settings.redis_timeout_ms))
                .set_response_timeout(Some(settings.redis_timeout_ms))
                .set_max_delay(Duration::from_secs(1))
                .set_number_of_retries(1),
        )?;
        Ok(Self {
            client,
            commands,
            prefix: settings.redis_prefix.as_str().into(),
            timeout: settings.redis_timeout_ms,
        })
    }

    /// The shared connection for ordinary, short commands.
    pub fn commands(&self) -> ConnectionManager {
        self.commands.clone()
    }

    /// How long an ordinary command may take.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A connection of the caller's own for commands that block up to `block`.
    ///
    /// # Errors
    /// If Redis can't be reached within the time-out.
    pub async fn blocking(&self, block: Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            // A server that answers nothing at all is noticed one time-out after the block has ended.
            .set_response_timeout(Some(block + self.timeout.max(Duration::from_secs(1))));
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// A connection of the caller's own for subscriptions.
    ///
    /// # Errors
    /// If Redis can't be reached within the time-out.
    pub async fn subscriber(&self) -> Result<PubSub, RedisError> {
        self.in_time(self.client.get_async_pubsub()).await
    }

    /// What the keys of users' hints begin with that wait for their turn.
    pub fn lane_prefix(&self) -> String {
        format!("{}lane:", self.prefix)
    }

    /// Whose turn it is: users with hints that wait.
    pub fn turns_key(&self) -> String {
        format!("{}turns", self.prefix)
    }

    /// Which turn it is.
    pub fn turn_key(&self) -> String {
        format!("{}turn", self.prefix)
    }

    /// The list of hints, as they come.
    pub fn ready_key(&self) -> String {
        format!("{}ready", self.prefix)
    }

    /// When the next one is free of a limit that all workers share.
    pub fn limit_key(&self, of: &str) -> String {
        format!("{}limit:{of}", self.prefix)
    }

    /// The channel on which final runs are told.
    pub fn finals_channel(&self) -> String {
        format!("{}finals", self.prefix)
    }

    /// The channel on which runs are told that were parked.
    pub fn parked_channel(&self) -> String {
        format!("{}parked", self.prefix)
    }

    /// The log of a run's events.
    pub fn run_key(&self, run_id: Uuid) -> String {
        format!("{}run:{run_id}", self.prefix)
    }

    /// The channel on which a user's events are told, all but the final ones.
    pub fn user_channel(&self, user_id: Uuid) -> String {
        format!("{}user:{user_id}", self.prefix)
    }

    /// The channel on which APIs call out to workers.
    pub fn control_channel(&self) -> String {
        format!("{}control", self.prefix)
    }

    /// Bounds an ordinary command, the connecting included.
    ///
    /// # Errors
    /// The command's own, or that it took too long.
    pub async fn in_time<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        match tokio::time::timeout(self.timeout, command).await {
            Ok(done) => done,
            Err(elapsed) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed).into()),
        }
    }
}
