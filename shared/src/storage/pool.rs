//! The pool of connections to Postgres, based on `deadpool`.
//!
//! sqlx's own pool pings Postgres whenever a connection is returned, which costs one more round trip per statement. This pool
//! takes a connection back only if its last work left it in order, and closes it otherwise, for example if that work was
//! dropped halfway. A connection that was idle is pinged before it is used again.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult},
};
use futures::{FutureExt, StreamExt, TryFutureExt, future::BoxFuture, stream, stream::BoxStream};
use sqlx::{
    ConnectOptions, Connection as _, Either, Execute, Executor, PgConnection, Postgres, SqlStr,
    postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

/// How long a connection may be idle before it is pinged: shorter than a restart of Postgres, so that no request fails because
/// of a connection that broke in the meantime.
const MAX_UNCHECKED_IDLE: Duration = Duration::from_secs(1);
/// The default limit on how long Postgres may take to answer a statement.
const DEFAULT_ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool that connects on first use, so that a process can start while Postgres is down. Cheap to clone.
///
/// As an executor, it takes a connection for one statement. For a transaction, take one with [`Self::get`].
#[derive(Clone)]
pub struct Pool {
    connections: managed::Pool<Manager>,
    answer_timeout: Duration,
}

/// The connections of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolUsage {
    /// Connections in use.
    pub busy: usize,
    /// Open connections that are not in use.
    pub idle: usize,
    /// Maximum number of connections.
    pub max: usize,
    /// Callers that wait for a connection.
    pub waiting: usize,
}

impl Pool {
    /// Creates a pool of at most `size` connections. A caller waits at most `acquire_timeout` for a connection.
    ///
    /// # Errors
    /// None in practice: the only error is a missing runtime, and this sets one.
    pub fn new(
        options: PgConnectOptions,
        size: usize,
        acquire_timeout: Duration,
    ) -> Result<Self, sqlx::Error> {
        managed::Pool::builder(Manager { options })
            .max_size(size)
            // The connection that was used last: its Postgres process has the warmest caches.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(acquire_timeout))
            .create_timeout(Some(acquire_timeout))
            .recycle_timeout(Some(PING_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .map(|connections| Self {
                connections,
                answer_timeout: DEFAULT_ANSWER_TIMEOUT,
            })
            .map_err(|error| sqlx::Error::Configuration(error.into()))
    }

    /// Sets how long Postgres may take to answer a statement. Must be longer than the statement timeout of Postgres itself: it
    /// detects connections that broke without an error.
    #[must_use]
    pub const fn with_answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Limits the duration of work that executes this number of statements on a connection of this pool. If it takes longer, its
    /// outcome is unknown.
    ///
    /// # Errors
    /// A timeout, as an I/O error.
    pub async fn with_timeout<T>(
        &self,
        statements: u32,
        work: impl Future<Output = T>,
    ) -> Result<T, sqlx::Error> {
        tokio::time::timeout(self.answer_timeout.saturating_mul(statements), work)
            .await
            .map_err(|elapsed| io::Error::new(io::ErrorKind::TimedOut, elapsed).into())
    }

    /// Takes a connection. It is closed when dropped, unless [`Connection::release`] was called.
    ///
    /// # Errors
    /// No connection became free in time, or Postgres is unreachable.
    pub async fn get(&self) -> Result<Connection, sqlx::Error> {
        match self.connections.get().await {
            Ok(object) => Ok(Connection(Some(object))),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(_)) => Err(sqlx::Error::PoolTimedOut),
            Err(PoolError::Closed) => Err(sqlx::Error::PoolClosed),
            Err(error @ (PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_))) => {
                Err(sqlx::Error::Configuration(error.to_string().into()))
            }
        }
    }

    /// Returns how much of the pool is in use.
    pub fn usage(&self) -> PoolUsage {
        let status = self.connections.status();
        let idle = status.available.min(status.size);
        PoolUsage {
            busy: status.size - idle,
            idle,
            max: status.max_size,
            waiting: status.waiting,
        }
    }

    /// Closes the pool: callers get no more connections.
    pub fn close(&self) {
        self.connections.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.connections.status()).finish()
    }
}

/// A connection in use.
pub struct Connection(Option<Object<Manager>>);

impl Connection {
    /// Returns the connection to the pool. Call this when its work is complete and has left it in order.
    pub fn release(mut self) {
        drop(self.0.take());
    }

    /// Returns the connection to the pool if the outcome of its last statement shows that it is in order.
    fn release_if_healthy<T>(self, outcome: Result<&T, &sqlx::Error>) {
        match outcome {
            Ok(_) | Err(sqlx::Error::Database(_) | sqlx::Error::RowNotFound) => self.release(),
            Err(_) => drop(self),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    #[expect(
        clippy::expect_used,
        reason = "only methods that consume the connection empty it"
    )]
    fn deref(&self) -> &PgConnection {
        self.0.as_deref().expect("the connection is in use")
    }
}

impl DerefMut for Connection {
    #[expect(
        clippy::expect_used,
        reason = "only methods that consume the connection empty it"
    )]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_deref_mut().expect("the connection is in use")
    }
}

/// Opens connections, and pings idle ones.
struct Manager {
    options: PgConnectOptions,
}

impl managed::Manager for Manager {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        self.options.connect().await
    }

    async fn recycle(&self, connection: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.last_used() < MAX_UNCHECKED_IDLE {
            return Ok(());
        }
        connection.ping().await.map_err(RecycleError::Backend)
    }
}

/// Executes one statement on a connection of the pool.
impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        // Reads all rows at once: they are few, and the connection is free sooner.
        async move {
            let mut connection = pool.get().await?;
            let rows: Vec<_> = pool
                .with_timeout(1, connection.fetch_many(query).collect())
                .await?;
            connection.release_if_healthy(
                rows.iter()
                    .try_for_each(|row| row.as_ref().map(drop))
                    .as_ref()
                    .map_err(|error| *error),
            );
            Ok(stream::iter(rows))
        }
        .try_flatten_stream()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        async move {
            let mut connection = pool.get().await?;
            let row = pool.with_timeout(1, connection.fetch_optional(query)).await?;
            connection.release_if_healthy(row.as_ref());
            row
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move {
            let mut connection = pool.get().await?;
            let statement = pool
                .with_timeout(1, connection.prepare_with(sql, parameters))
                .await?;
            connection.release_if_healthy(statement.as_ref());
            statement
        }
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.get().await?.describe(sql).await }.boxed()
    }
}
