//! All SQL, a file a subject. Functions take a connection or an executor: the caller owns the transaction.
//!
//! What a chat writes (a post, a claim, a finish) is one statement over arrays of rows: one round trip and one commit,
//! for one row or for many.

pub mod admin_runs;
pub mod audit;
pub mod auth_tokens;
pub mod conversations;
pub mod group_commit;
pub mod idempotency;
pub mod journal;
pub mod messages;
#[cfg(feature = "mutation-fence")]
pub mod mutation;
pub mod overview;
pub mod pool;
pub mod queue;
pub mod retention;
pub mod runs;
pub mod schema;
pub mod stats;
pub mod tasks;
pub mod users;

use std::{str::FromStr, time::Duration};

use sqlx::postgres::PgConnectOptions;

pub use self::pool::Pool;
use crate::{
    domain::run::{RunStatus, UnknownStatus},
    service::config::StoreSettings,
};

/// How much later than Postgres's own time-out of a statement its answer is given up.
const ANSWER_SLACK: Duration = Duration::from_secs(1);

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What a person was promised: a posted message, a finished run.
    Flushed,
    /// What is done again if a crash of Postgres loses it: claims, steps of built-in tools, heartbeats.
    Relaxed,
}

/// How statements are planned: once a connection, because their plans do not depend on the values and planning one of them
/// anew would cost more than running it; and by indexes, row by row. Left to itself Postgres reads whole tables and whole
/// partial indexes while it takes them for small, as in a fresh database, and keeps such a plan until it has looked again.
pub const PLANNING: [(&str, &str); 7] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
];

/// Options for a connection as the settings say.
///
/// # Errors
/// If the URL is not one of Postgres.
pub fn connect_options(
    settings: &StoreSettings,
    durability: Durability,
) -> Result<PgConnectOptions, sqlx::Error> {
    let statement_timeout = settings.database_statement_timeout_ms.as_millis().to_string();
    let mut options = PgConnectOptions::from_str(settings.database_url.reveal())?
        .application_name("errand")
        .options([("statement_timeout", statement_timeout.as_str())])
        .options(PLANNING);
    if durability == Durability::Relaxed {
        options = options.options([("synchronous_commit", "off")]);
    }
    Ok(options)
}

/// A pool of the settings' size.
///
/// # Errors
/// If the URL is not one of Postgres.
pub fn pool(settings: &StoreSettings, durability: Durability) -> Result<Pool, sqlx::Error> {
    pool_of(settings, durability, settings.database_pool_size as usize)
}

/// A pool of a size of its own.
///
/// # Errors
/// If the URL is not one of Postgres.
pub fn pool_of(settings: &StoreSettings, durability: Durability, size: usize) -> Result<Pool, sqlx::Error> {
    let pool = Pool::new(
        connect_options(settings, durability)?,
        size,
        settings.database_acquire_timeout_ms,
    )?;
    Ok(pool.answering_within(settings.database_statement_timeout_ms + ANSWER_SLACK))
}

/// Whether an error says that Postgres is away or overloaded, rather than that the statement was wrong.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // 08 connection, 25006 read-only, 53 out of resources, 57 ended by an operator or a time-out.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || code == "25006" || code.starts_with("53") || code.starts_with("57")
        }),
        _ => false,
    }
}

/// Whether an error is the violation of the constraint or unique index with this name.
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.constraint() == Some(constraint))
}

/// Whether an error says that the row's user is no longer there.
pub fn violates_user(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error)
        if error.constraint().is_some_and(|constraint| constraint.ends_with("_user_id_fkey")))
}

/// Decodes a status column; `run_fields` in the schema keeps unknown ones out.
///
/// # Errors
/// [`sqlx::Error::Decode`] if a newer program stored a status that this one does not know.
pub(crate) fn status_column(name: &str) -> Result<RunStatus, sqlx::Error> {
    name.parse()
        .map_err(|error: UnknownStatus| sqlx::Error::Decode(error.into()))
}
