//! All SQL of the product, one file per subject. Functions take a connection or an executor: the caller owns the transaction.
//!
//! Everything that one chat writes (a post, a claim, a step, a finish) is one statement over arrays of rows, so that a batch
//! of any size costs one round trip and one commit. Long statements are in `.sql` files beside the function that runs them.
//! [`runs`] defines the conditions that many statements repeat, such as "open run".
//!
//! It must not know HTTP, Redis or the model.

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

/// How much longer than Postgres's own statement timeout a program waits for an answer.
const ANSWER_SLACK: Duration = Duration::from_secs(1);

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// For everything that a user was promised: a stored message, a finished run.
    Flushed,
    /// For everything that is repeated if a crash of Postgres loses it: claims, steps of built-in tools, heartbeats.
    Relaxed,
}

/// Planner settings of every connection. Plans are made once per connection, because they do not depend on the parameters
/// and planning costs more than execution. They may use only indexes and nested loops: in a small or a new database the
/// planner would otherwise choose plans that read whole tables or whole partial indexes, and the connection would keep them
/// after the tables have grown.
pub const PLANNING: [(&str, &str); 7] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
];

/// Returns connection options for the settings.
///
/// # Errors
/// The URL is not a Postgres URL.
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

/// Creates a pool of the size in the settings.
///
/// # Errors
/// The URL is not a Postgres URL.
pub fn pool(settings: &StoreSettings, durability: Durability) -> Result<Pool, sqlx::Error> {
    pool_of(settings, durability, settings.database_pool_size as usize)
}

/// Creates a pool of at most `size` connections.
///
/// # Errors
/// The URL is not a Postgres URL.
pub fn pool_of(settings: &StoreSettings, durability: Durability, size: usize) -> Result<Pool, sqlx::Error> {
    let pool = Pool::new(
        connect_options(settings, durability)?,
        size,
        settings.database_acquire_timeout_ms,
    )?;
    Ok(pool.with_answer_timeout(settings.database_statement_timeout_ms + ANSWER_SLACK))
}

/// Whether the error means that Postgres is unreachable or overloaded, rather than that the statement was wrong.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // 08: connection; 25006: read-only; 53: insufficient resources; 57: stopped by an operator or a timeout.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || code == "25006" || code.starts_with("53") || code.starts_with("57")
        }),
        _ => false,
    }
}

/// Whether the error is a violation of the constraint or unique index with this name.
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.constraint() == Some(constraint))
}

/// Whether the error means that the user of a row does not exist.
pub fn violates_user(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error)
        if error.constraint().is_some_and(|constraint| constraint.ends_with("_user_id_fkey")))
}

/// Decodes a status column. The check `run_fields` in the schema rejects unknown statuses.
///
/// # Errors
/// [`sqlx::Error::Decode`] if a newer program stored a status that this one does not know.
pub(crate) fn status_column(name: &str) -> Result<RunStatus, sqlx::Error> {
    name.parse()
        .map_err(|error: UnknownStatus| sqlx::Error::Decode(error.into()))
}
