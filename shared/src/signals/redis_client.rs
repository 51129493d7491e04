//! Connections to Redis, and the names of keys and channels.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use redis::{
    AsyncConnectionConfig, Client, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection, PubSub},
};
use uuid::Uuid;

use crate::service::config::RedisSettings;

/// The longest pause before subscribing again.
const MAX_SUBSCRIBE_PAUSE: Duration = Duration::from_secs(2);

/// A client of a Redis that may be unavailable at any time: each connection is opened on first use and again after an error.
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
    /// Creates a client without connecting.
    ///
    /// # Errors
    /// If the URL is not a Redis URL.
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

    /// The shared connection for short commands.
    pub fn commands(&self) -> ConnectionManager {
        self.commands.clone()
    }

    /// The time limit of a short command.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Opens a connection for commands that block for at most `block`.
    ///
    /// # Errors
    /// If Redis cannot be reached within the time limit.
    pub async fn blocking(&self, block: Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            // Detects a server that stopped responding, one time limit after the block should have ended.
            .set_response_timeout(Some(block + self.timeout.max(Duration::from_secs(1))));
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Opens a connection for subscriptions.
    ///
    /// # Errors
    /// If Redis cannot be reached within the time limit.
    pub async fn subscriber(&self) -> Result<PubSub, RedisError> {
        self.with_timeout(self.client.get_async_pubsub()).await
    }

    /// Runs `session` with a new connection for subscriptions, and again with another one whenever it ends. The pauses in
    /// between grow with every failure. Never returns; `name` describes the subscription in the log.
    ///
    /// `on_disconnect` is called after every session and returns whether the session had subscribed successfully, in which
    /// case the pauses start over.
    pub async fn subscribe_forever<F>(
        &self,
        name: &str,
        mut session: impl FnMut(PubSub) -> F,
        mut on_disconnect: impl FnMut() -> bool,
    ) where
        F: Future<Output = Result<(), RedisError>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(MAX_SUBSCRIBE_PAUSE)
            .without_max_times()
            .with_jitter();
        let mut pauses = backoff.build();
        loop {
            let ended = match self.subscriber().await {
                Ok(connection) => session(connection).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => tracing::warn!(subscription = name, "Redis subscription ended; subscribing again"),
                Err(error) => {
                    tracing::warn!(%error, subscription = name, "Redis subscription failed; subscribing again");
                }
            }
            if on_disconnect() {
                pauses = backoff.build();
            }
            tokio::time::sleep(pauses.next().unwrap_or(MAX_SUBSCRIBE_PAUSE)).await;
        }
    }

    /// The prefix of the per-user queues of notifications.
    pub fn lane_prefix(&self) -> String {
        format!("{}lane:", self.prefix)
    }

    /// The sorted set of users with waiting notifications, by virtual time.
    pub fn turns_key(&self) -> String {
        format!("{}turns", self.prefix)
    }

    /// The current virtual time of the fair queue.
    pub fn turn_key(&self) -> String {
        format!("{}turn", self.prefix)
    }

    /// The list of new notifications.
    pub fn ready_key(&self) -> String {
        format!("{}ready", self.prefix)
    }

    /// The state of a rate limit that all workers share.
    pub fn limit_key(&self, of: &str) -> String {
        format!("{}limit:{of}", self.prefix)
    }

    /// The channel of finished runs.
    pub fn finished_channel(&self) -> String {
        format!("{}finals", self.prefix)
    }

    /// The channel of runs that started to wait for approval.
    pub fn awaiting_approval_channel(&self) -> String {
        format!("{}parked", self.prefix)
    }

    /// The event log of a run.
    pub fn run_key(&self, run_id: Uuid) -> String {
        format!("{}run:{run_id}", self.prefix)
    }

    /// The channel of a user's run events, except final ones.
    pub fn user_channel(&self, user_id: Uuid) -> String {
        format!("{}user:{user_id}", self.prefix)
    }

    /// The channel of commands to the workers.
    pub fn control_channel(&self) -> String {
        format!("{}control", self.prefix)
    }

    /// Applies the time limit to a short command, including the time to connect.
    ///
    /// # Errors
    /// The command's error, or a time-out.
    pub async fn with_timeout<T>(
        &self,
        command: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        match tokio::time::timeout(self.timeout, command).await {
            Ok(done) => done,
            Err(elapsed) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed).into()),
        }
    }
}
