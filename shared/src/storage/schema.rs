//! Migrations, and whether this program can live with the schema it finds.

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

/// The generation of the schema that this program was written for. Each migration that adds to
/// `schema_generations` raises it.
pub const GENERATION: i32 = 8;

/// Brings the schema up to this program's generation. Any number of processes may try at once: the migrator holds an
/// advisory lock. Migrations of a newer program are left alone.
///
/// # Errors
/// If Postgres can't be reached or refuses a statement.
pub async fn migrate(options: PgConnectOptions) -> Result<(), sqlx::Error> {
    // A migration may take longer than any statement of a request.
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

/// Migrates as soon as Postgres can be reached, trying again with growing pauses until then.
///
/// # Errors
/// If the URL is not one of Postgres.
pub async fn migrate_when_reachable(settings: &StoreSettings) -> Result<(), sqlx::Error> {
    let options = connect_options(settings, Durability::Flushed)?;
    let patience = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter();
    (|| migrate(options.clone()))
        .retry(patience)
        .notify(|error, delay| tracing::warn!(%error, ?delay, "waiting for Postgres"))
        .await
}

/// Whether this program can live with the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// It can.
    Compatible,
    /// The schema lacks what this program needs: it has yet to be migrated.
    TooOld {
        /// The generation found.
        found: i32,
    },
    /// The schema has dropped what this program needs.
    TooNew {
        /// The oldest generation of program that can live with the schema.
        oldest_program: i32,
    },
}

/// Compares the schema with [`GENERATION`].
///
/// # Errors
/// If Postgres can't be asked, or the schema was never migrated.
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

/// A number that changes with the migrations' content, by which a test's template of the schema is named.
pub fn fingerprint() -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for migration in MIGRATIONS.iter() {
        migration.checksum.hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}
