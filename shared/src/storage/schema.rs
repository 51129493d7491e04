//! Migrations, and whether this program is compatible with the schema of the database.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sqlx::{
    PgExecutor,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Durability, connect_options};
use crate::service::config::StoreSettings;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The generation of the schema that this program was written for. A migration that inserts into `schema_generations` raises
/// it.
pub const GENERATION: i32 = 12;

/// Applies the missing migrations. Any number of processes may do this at the same time: the migrator takes an advisory lock.
/// Migrations of a newer program are ignored.
///
/// # Errors
/// Postgres is unreachable or rejects a statement.
pub async fn migrate(options: PgConnectOptions) -> Result<(), sqlx::Error> {
    // A migration may take longer than the statements of a request.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options.options([("statement_timeout", "0")]))
        .await?;
    Migrator::with_migrations(MIGRATIONS.iter().cloned().collect())
        .set_ignore_missing(true)
        .run(&pool)
        .await
        .map_err(|error| sqlx::Error::Migrate(Box::new(error)))
}

/// Applies the missing migrations as soon as Postgres is reachable. Retries with increasing delays until then.
///
/// # Errors
/// The URL is not a Postgres URL.
pub async fn migrate_when_reachable(settings: &StoreSettings) -> Result<(), sqlx::Error> {
    let options = connect_options(settings, Durability::Flushed)?;
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter();
    (|| migrate(options.clone()))
        .retry(backoff)
        .notify(|error, delay| tracing::warn!(%error, ?delay, "waiting for Postgres"))
        .await
}

/// Whether this program is compatible with the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// The program can use the schema.
    Compatible,
    /// The schema lacks something that this program needs: migrations are missing.
    TooOld {
        /// The generation of the schema.
        found: i32,
    },
    /// A migration of a newer program removed something that this program needs.
    TooNew {
        /// The oldest generation of program that can use the schema.
        oldest_program: i32,
    },
}

/// Compares the schema with [`GENERATION`].
///
/// # Errors
/// A database error, also if the schema was never migrated.
pub async fn compatibility(executor: impl PgExecutor<'_>) -> Result<Compatibility, sqlx::Error> {
    let newest = sqlx::query!(
        "SELECT generation, oldest_program FROM schema_generations ORDER BY generation DESC LIMIT 1"
    )
    .fetch_one(executor)
    .await?;
    Ok(if newest.generation < GENERATION {
        Compatibility::TooOld {
            found: newest.generation,
        }
    } else if newest.oldest_program > GENERATION {
        Compatibility::TooNew {
            oldest_program: newest.oldest_program,
        }
    } else {
        Compatibility::Compatible
    })
}

/// A hash of the migrations. Tests use it to name their template databases.
pub fn fingerprint() -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for migration in MIGRATIONS.iter() {
        migration.checksum.hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}
