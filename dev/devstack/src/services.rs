//! Private Postgres and Redis servers as child processes, with or without durable data.

pub mod postgres;
pub mod redis;
mod server;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::files::data_dir::DataDir;
use crate::files::secret::Secret;
use crate::packages::{Found, PG_BIN_VARIABLE, REDIS_SERVER_VARIABLE};
use crate::ports::{self, Ports};
use postgres::Postgres;
use redis::Redis;

/// How long a service may take until it is ready, which includes Postgres's crash recovery.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// The addresses of Postgres and Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// The value of `DATABASE_URL`.
    pub database: String,
    /// The value of `REDIS_URL`.
    pub redis: String,
}

impl Urls {
    /// The environment variables of the programs.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        vec![
            (OsString::from("DATABASE_URL"), OsString::from(&self.database)),
            (OsString::from("REDIS_URL"), OsString::from(&self.redis)),
        ]
    }
}

/// A running private Postgres and Redis.
#[derive(Debug)]
pub struct Services {
    /// Postgres.
    pub postgres: Postgres,
    /// Redis.
    pub redis: Redis,
}

impl Services {
    /// Servers that keep no data, for tests. They stop when the thread that starts them ends.
    pub async fn ephemeral(found: &Found) -> Result<Self> {
        let (postgres, redis) = tokio::try_join!(
            Postgres::ephemeral_from(found, true),
            Redis::ephemeral_from(found, true),
        )?;
        Ok(Self { postgres, redis })
    }

    /// Servers that keep their data in the data directory. They stop when the thread that starts them ends.
    pub async fn durable(found: &Found, dir: &DataDir, ports: &mut Ports) -> Result<Self> {
        let postgres = postgres::Settings {
            bin: found.postgres_bin.clone(),
            home: dir.home("postgres"),
            log: dir.log("postgres"),
            port: ports.pick("postgres", None)?,
            password: dir.secret("postgres-password")?,
            durability: postgres::Durability::Durable,
            ready_within: READY_WITHIN,
            pid_file: Some(dir.pid_file("postgres")),
            tied_to_us: true,
        };
        let redis = redis::Settings {
            server: found.redis_server.clone(),
            home: dir.home("redis"),
            log: dir.log("redis"),
            port: ports.pick("redis", None)?,
            password: Some(dir.secret("redis-password")?),
            keeps_data: true,
            ready_within: READY_WITHIN,
            pid_file: Some(dir.pid_file("redis")),
            tied_to_us: true,
        };
        Self::start(postgres, redis).await
    }

    /// A Postgres that flushes each commit to disk and a Redis that keeps no data, both in a directory of the caller: for
    /// measurements and crash tests. With `tied_to_us` they stop when the thread that starts them ends.
    pub async fn in_dir(found: &Found, dir: &Path, tied_to_us: bool) -> Result<Self> {
        let postgres = postgres::Settings {
            bin: found.postgres_bin.clone(),
            home: dir.join("postgres"),
            log: dir.join("postgres.log"),
            port: ports::any_free()?,
            password: Secret::random(16)?,
            durability: postgres::Durability::Durable,
            ready_within: READY_WITHIN,
            pid_file: None,
            tied_to_us,
        };
        let redis = redis::Settings {
            server: found.redis_server.clone(),
            home: dir.join("redis"),
            log: dir.join("redis.log"),
            port: ports::any_free()?,
            password: None,
            keeps_data: false,
            ready_within: READY_WITHIN,
            pid_file: None,
            tied_to_us,
        };
        Self::start(postgres, redis).await
    }

    async fn start(postgres: postgres::Settings, redis: redis::Settings) -> Result<Self> {
        let (postgres, redis) = tokio::try_join!(Postgres::start(postgres), Redis::start(redis))?;
        Ok(Self { postgres, redis })
    }

    /// The addresses of both.
    pub fn urls(&self) -> Urls {
        Urls {
            database: self.postgres.url(),
            redis: self.redis.url(),
        }
    }

    /// Waits until one of them exits by itself. Returns which one, and an error to report. Cancel-safe.
    pub async fn exited(&mut self) -> Result<(Service, Error)> {
        tokio::select! {
            error = self.postgres.exited() => Ok((Service::Postgres, error?)),
            error = self.redis.exited() => Ok((Service::Redis, error?)),
        }
    }

    /// Starts a service again on the same port.
    pub(crate) async fn start_again(&mut self, service: Service) -> Result<()> {
        match service {
            Service::Postgres => self.postgres.start_again().await,
            Service::Redis => self.redis.start_again().await,
        }
    }

    /// Stops both, even if one of them fails to stop.
    pub async fn stop(&mut self) -> Result<()> {
        let redis = self.redis.stop().await;
        self.postgres.stop().await.and(redis)
    }
}

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The database.
    Postgres,
    /// Notifications and event streams.
    Redis,
}

/// The environment variables with which tests find the programs of Postgres and Redis.
pub fn env_of_programs(found: &Found) -> Vec<(OsString, OsString)> {
    vec![
        (
            OsString::from(PG_BIN_VARIABLE),
            found.postgres_bin.clone().into_os_string(),
        ),
        (
            OsString::from(REDIS_SERVER_VARIABLE),
            found.redis_server.clone().into_os_string(),
        ),
    ]
}
