//! Connections to Postgres, kept and bounded by `deadpool`.
//!
//! sqlx's own pool asks Postgres for a sign of life at every return of a connection, which is one round trip more for
//! each statement. Here a connection goes back only when its last work is known to have left it in order; one that was
//! given up half-way is closed instead, and one that has lain idle is asked before it is used.

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

/// How long a connection may lie idle before it is asked for a sign of life: shorter than Postgres takes to restart, so
/// that nobody is turned away for a connection that broke meanwhile.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How long Postgres may take to answer a statement unless somebody says otherwise.
const LONGEST_ANSWER: Duration = Duration::from_mins(1);
/// How long the sign of life may take.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// A pool that connects when it is used, so that a process can start while Postgres is down. Cheap to clone.
///
/// As an executor it takes a connection for one statement; for a transaction, [`Self::get`] one.
#[derive(Clone)]
pub struct Pool {
    connections: managed::Pool<Manager>,
    /// How long Postgres may take to answer.
    answer: Duration,
}

/// How much of a pool is in use.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Connections that somebody has taken.
    pub busy: usize,
    /// Connections that wait to be taken.
    pub idle: usize,
    /// Connections, at most.
    pub max: usize,
    /// Who waits for one.
    pub waiting: usize,
}

impl Pool {
    /// A pool of at most `size` connections; a taker waits at most `patience` for one.
    ///
    /// # Errors
    /// Never with the runtime that this sets.
    pub fn new(options: PgConnectOptions, size: usize, patience: Duration) -> Result<Self, sqlx::Error> {
        managed::Pool::builder(Manager { options })
            .max_size(size)
            // The one that was used last: its process in Postgres still has in the caches what it needs.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience))
            .recycle_timeout(Some(SIGN_OF_LIFE))
            .runtime(Runtime::Tokio1)
            .build()
            .map(|connections| Self {
                connections,
                answer: LONGEST_ANSWER,
            })
            .map_err(|error| sqlx::Error::Configuration(error.into()))
    }

    /// With another bound on how long Postgres may take to answer a statement. It must be longer than Postgres gives
    /// itself, and is for connections that have died without a word.
    #[must_use]
    pub const fn answering_within(mut self, answer: Duration) -> Self {
        self.answer = answer;
        self
    }

    /// Bounds work of so many statements on a connection of this pool. Its outcome is unknown if it takes longer.
    ///
    /// # Errors
    /// That it took too long, as a fault of the connection.
    pub async fn in_time<T>(&self, statements: u32, work: impl Future<Output = T>) -> Result<T, sqlx::Error> {
        tokio::time::timeout(self.answer.saturating_mul(statements), work)
            .await
            .map_err(|elapsed| io::Error::new(io::ErrorKind::TimedOut, elapsed).into())
    }

    /// Takes a connection. It is closed when dropped unless [`Connection::keep`] was called.
    ///
    /// # Errors
    /// If none is free in time, or Postgres can't be reached.
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

    /// How much of the pool is in use.
    pub fn usage(&self) -> Usage {
        let status = self.connections.status();
        let idle = status.available.min(status.size);
        Usage {
            busy: status.size - idle,
            idle,
            max: status.max_size,
            waiting: status.waiting,
        }
    }

    /// Closes the pool: nobody gets a connection any more.
    pub fn close(&self) {
        self.connections.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.connections.status()).finish()
    }
}

/// A connection that somebody has taken.
pub struct Connection(Option<Object<Manager>>);

impl Connection {
    /// Puts the connection back: its work is done and has left it in order.
    pub fn keep(mut self) {
        drop(self.0.take());
    }

    /// Puts the connection back if what its last statement came to shows that it is in order.
    fn keep_after<T>(self, outcome: Result<&T, &sqlx::Error>) {
        match outcome {
            Ok(_) | Err(sqlx::Error::Database(_) | sqlx::Error::RowNotFound) => self.keep(),
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

    #[expect(clippy::expect_used, reason = "only what consumes the connection empties it")]
    fn deref(&self) -> &PgConnection {
        self.0.as_deref().expect("a connection in use")
    }
}

impl DerefMut for Connection {
    #[expect(clippy::expect_used, reason = "only what consumes the connection empties it")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_deref_mut().expect("a connection in use")
    }
}

/// Makes connections, and asks those that have lain idle.
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
        if metrics.last_used() < TRUSTED_FOR {
            return Ok(());
        }
        connection.ping().await.map_err(RecycleError::Backend)
    }
}

/// One statement on a connection of the pool.
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
        // All rows at once: ours are few, and the connection is free the sooner.
        async move {
            let mut connection = pool.get().await?;
            let rows: Vec<_> = pool.in_time(1, connection.fetch_many(query).collect()).await?;
            connection.keep_after(
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
            let row = pool.in_time(1, connection.fetch_optional(query)).await?;
            connection.keep_after(row.as_ref());
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
            let statement = pool.in_time(1, connection.prepare_with(sql, parameters)).await?;
            connection.keep_after(statement.as_ref());
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
