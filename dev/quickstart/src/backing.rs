//! The two services that everything stands on, private or outside.

use std::ffi::OsString;

use crate::cli::OutsideArgs;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::packages::{Found, PG_BIN_VARIABLE, REDIS_SERVER_VARIABLE};
use crate::ports::Ports;
use crate::postgres::{self, Postgres};
use crate::redis::{self, Redis};

/// How long each service may take until it is ready. Postgres may have a crash
/// to recover from, so this is no tight bound.
const READY_WITHIN: std::time::Duration = std::time::Duration::from_mins(2);

/// Where Postgres and Redis are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Urls {
    /// For `DATABASE_URL`.
    pub(crate) database: String,
    /// For `REDIS_URL`.
    pub(crate) redis: String,
}

impl Urls {
    /// The outside services that the flags name. The environment is never looked at.
    pub(crate) fn outside(args: &OutsideArgs) -> Option<Self> {
        let (database, redis) = args.database_url.as_ref().zip(args.redis_url.as_ref())?;
        Some(Self {
            database: database.clone(),
            redis: redis.clone(),
        })
    }

    /// The environment that the programs read them from.
    pub(crate) fn env(&self) -> Vec<(OsString, OsString)> {
        vec![
            (OsString::from("DATABASE_URL"), OsString::from(&self.database)),
            (OsString::from("REDIS_URL"), OsString::from(&self.redis)),
        ]
    }
}

/// A running private Postgres and Redis.
#[derive(Debug)]
pub(crate) struct Backing {
    postgres: Postgres,
    redis: Redis,
}

impl Backing {
    /// Servers that keep nothing.
    pub(crate) async fn ephemeral(found: &Found) -> Result<Self> {
        let (postgres, redis) = tokio::try_join!(
            Postgres::ephemeral_from(found, true),
            Redis::ephemeral_from(found, true),
        )?;
        Ok(Self { postgres, redis })
    }

    /// Servers that keep their data in the folder.
    pub(crate) async fn durable(found: &Found, folder: &Folder, ports: &mut Ports) -> Result<Self> {
        let postgres = postgres::Settings {
            bin: found.postgres_bin.clone(),
            home: folder.home("postgres"),
            log: folder.log("postgres"),
            port: ports.pick("postgres", None)?,
            password: folder.secret("postgres-password")?,
            profile: postgres::Profile::Durable,
            ready_within: READY_WITHIN,
            pid_file: Some(folder.pid_file("postgres")),
            tied_to_us: true,
        };
        let redis = redis::Settings {
            server: found.redis_server.clone(),
            home: folder.home("redis"),
            log: folder.log("redis"),
            port: ports.pick("redis", None)?,
            password: Some(folder.secret("redis-password")?),
            keeps_data: true,
            ready_within: READY_WITHIN,
            pid_file: Some(folder.pid_file("redis")),
            tied_to_us: true,
        };
        let (postgres, redis) = tokio::try_join!(Postgres::start(postgres), Redis::start(redis))?;
        Ok(Self { postgres, redis })
    }

    /// Where they are.
    pub(crate) fn urls(&self) -> Urls {
        Urls {
            database: self.postgres.url(),
            redis: self.redis.url(),
        }
    }

    /// Waits until one of them ends unasked.
    pub(crate) async fn next_death(&mut self) -> Result<Death> {
        tokio::select! {
            fault = self.postgres.died() => Ok(Death { service: Service::Postgres, fault: fault? }),
            fault = self.redis.died() => Ok(Death { service: Service::Redis, fault: fault? }),
        }
    }

    /// Starts a dead service again, on its port.
    pub(crate) async fn revive(&mut self, service: Service) -> Result<()> {
        match service {
            Service::Postgres => self.postgres.start_again().await,
            Service::Redis => self.redis.start_again().await,
        }
    }

    /// Stops both in good order, also when one of them makes trouble.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let redis = self.redis.stop().await;
        self.postgres.stop().await.and(redis)
    }
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// The database.
    Postgres,
    /// The bell.
    Redis,
}

/// A service that ended without having been asked.
#[derive(Debug)]
pub(crate) struct Death {
    /// Which one.
    pub(crate) service: Service,
    /// How, with its last lines.
    pub(crate) fault: Error,
}

/// What tests need to start servers of their own.
pub(crate) fn env_of_programs(found: &Found) -> Vec<(OsString, OsString)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flags_lead_to_an_outside_database() {
        assert_eq!(Urls::outside(&OutsideArgs::default()), None);
        let args = OutsideArgs {
            database_url: Some("postgres://elsewhere/errand".to_owned()),
            redis_url: Some("redis://elsewhere".to_owned()),
        };
        let urls = Urls::outside(&args).unwrap();
        assert_eq!(urls.database, "postgres://elsewhere/errand");
        assert_eq!(urls.env().len(), 2);
    }
}
