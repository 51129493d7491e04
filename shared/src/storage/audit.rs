//! The promises as statements over the whole book: each check counts what it looked at and names what breaks it.
//!
//! A check is one statement, so it sees the book as it was at one moment, whatever is written meanwhile. It reads tables
//! from end to end, which no other statement may: each begins with the mark `/* verify */`. Only the first offenders and
//! the counts come back, so that the caller's memory is bounded; Postgres's is by `WORK_MEM`. No constraint or index
//! is taken for granted, for a check must see what came in while one was gone.

mod calls;
mod conversations;
mod liveness;
mod runs;
mod tasks;

use std::time::Duration;

use sqlx::{PgConnection, postgres::PgConnectOptions};

use super::{Durability, connect_options};
use crate::service::config::StoreSettings;

/// What one sort or hash of a check may take of Postgres's memory before it goes on in a file.
const WORK_MEM: &str = "32MB";

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Rows that were looked at.
    pub examined: i64,
    /// How many of them break the promise.
    pub violations: i64,
    /// The first of those, by name.
    pub offenders: Vec<String>,
}

/// From when on something that waits counts as stuck, and how much is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Seconds after its worker's last heartbeat, or after its deadline, by which somebody must have taken up a run.
    pub rescue_seconds: f64,
    /// Age of a heartbeat in seconds up to which a worker counts as alive.
    pub alive_seconds: f64,
    /// Seconds that a run may wait to be claimed while there is room for it.
    pub queued_seconds: f64,
    /// Offenders that a check names, at most.
    pub offenders: i64,
}

/// A promise that can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// See [`Check::promise`], as for all of them.
    Messages,
    /// Fields of a run go with its state.
    Ends,
    /// Replies.
    Replies,
    /// Final events.
    FinalEvents,
    /// Owners.
    Owners,
    /// Idempotency keys.
    Keys,
    /// One run at a time.
    OneAtATime,
    /// Order of runs.
    Order,
    /// Sequence numbers.
    Sequences,
    /// Order of a run's messages.
    Layout,
    /// The journal.
    Journal,
    /// Calls that were journalled before they were made.
    Consents,
    /// Tool rows among the messages.
    ToolRows,
    /// Tool calls at the reply.
    ReplyCalls,
    /// Token counts.
    Usage,
    /// Task numbers.
    TaskNumbers,
    /// Effects of tool calls.
    Effects,
    /// Runs of dead workers.
    Orphans,
    /// Runs past their deadline.
    Overdue,
    /// Runs that nobody claims.
    Waiting,
    /// Where tasks come from; only on demand.
    Origins,
    /// Open runs; only on demand.
    Settled,
}

impl Check {
    /// All that hold on any database at any moment.
    pub const ALWAYS: [Self; 20] = [
        Self::Messages,
        Self::Ends,
        Self::Replies,
        Self::FinalEvents,
        Self::Owners,
        Self::Keys,
        Self::OneAtATime,
        Self::Order,
        Self::Sequences,
        Self::Layout,
        Self::Journal,
        Self::Consents,
        Self::ToolRows,
        Self::ReplyCalls,
        Self::Usage,
        Self::TaskNumbers,
        Self::Effects,
        Self::Orphans,
        Self::Overdue,
        Self::Waiting,
    ];

    /// The name, as it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Ends => "ends",
            Self::Replies => "replies",
            Self::FinalEvents => "final-events",
            Self::Owners => "owners",
            Self::Keys => "keys",
            Self::OneAtATime => "one-at-a-time",
            Self::Order => "order",
            Self::Sequences => "sequences",
            Self::Layout => "layout",
            Self::Journal => "journal",
            Self::Consents => "consents",
            Self::ToolRows => "tool-rows",
            Self::ReplyCalls => "reply-calls",
            Self::Usage => "usage",
            Self::TaskNumbers => "task-numbers",
            Self::Effects => "effects",
            Self::Orphans => "orphans",
            Self::Overdue => "overdue",
            Self::Waiting => "waiting",
            Self::Origins => "origins",
            Self::Settled => "settled",
        }
    }

    /// What must hold, as a sentence.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Messages => "each user message has one run, each run one user message",
            Self::Ends => "a final run has its end, an open one has none",
            Self::Replies => "a succeeded run has one reply, any other none",
            Self::FinalEvents => "a final run's last event has a number of the run's epoch",
            Self::Owners => "runs and messages belong to their conversation's user",
            Self::Keys => "an idempotency key names a run of its user",
            Self::OneAtATime => "a conversation has one live run at most",
            Self::Order => "runs of a conversation go and end in the order of their messages",
            Self::Sequences => "message numbers are unique and not above the conversation's counter",
            Self::Layout => "a run's tool rows and reply stand together, after what came before them",
            Self::Journal => "each step and each tool call is journalled once",
            Self::Consents => {
                "a call asked for beforehand is made as asked, answered by the end, and only with the consent it needs"
            }
            Self::ToolRows => "the tool rows of a final run are its journal's calls; an open run has none",
            Self::ReplyCalls => "a reply's tool calls are its journal's",
            Self::Usage => "a final run's tokens are the sum over its steps",
            Self::TaskNumbers => "task numbers are unique and not above their user's counter",
            Self::Effects => "no two tool calls added or deleted one task, and what was deleted is gone",
            Self::Orphans => "no run is held by a dead worker for longer than the rescue takes",
            Self::Overdue => {
                "no run is held past its deadline, or parked past its time, for longer than the rescue takes"
            }
            Self::Waiting => "no run waits though there is room for it",
            Self::Origins => "each task ever made has its one call, and each that is gone has its own",
            Self::Settled => "no run is open",
        }
    }

    /// Looks.
    ///
    /// # Errors
    /// A fault of Postgres, a time-out among them.
    pub async fn run(self, connection: &mut PgConnection, limits: Limits) -> Result<Found, sqlx::Error> {
        match self {
            Self::Messages => runs::messages(connection, limits).await,
            Self::Ends => runs::ends(connection, limits).await,
            Self::Replies => runs::replies(connection, limits).await,
            Self::FinalEvents => runs::final_events(connection, limits).await,
            Self::Owners => runs::owners(connection, limits).await,
            Self::Keys => runs::keys(connection, limits).await,
            Self::OneAtATime => conversations::one_at_a_time(connection, limits).await,
            Self::Order => conversations::order(connection, limits).await,
            Self::Sequences => conversations::sequences(connection, limits).await,
            Self::Layout => conversations::layout(connection, limits).await,
            Self::Journal => calls::journal(connection, limits).await,
            Self::Consents => calls::consents(connection, limits).await,
            Self::ToolRows => calls::tool_rows(connection, limits).await,
            Self::ReplyCalls => calls::reply_calls(connection, limits).await,
            Self::Usage => calls::usage(connection, limits).await,
            Self::TaskNumbers => tasks::numbers(connection, limits).await,
            Self::Effects => tasks::effects(connection, limits).await,
            Self::Origins => tasks::origins(connection, limits).await,
            Self::Orphans => liveness::orphans(connection, limits).await,
            Self::Overdue => liveness::overdue(connection, limits).await,
            Self::Waiting => liveness::waiting(connection, limits).await,
            Self::Settled => liveness::settled(connection, limits).await,
        }
    }
}

/// Options for the connection of the checks: it can't write, waits for no lock, and gives a statement up after
/// `patience` rather than after the time-out that requests have.
///
/// # Errors
/// If the URL is not one of Postgres.
pub fn options(settings: &StoreSettings, patience: Duration) -> Result<PgConnectOptions, sqlx::Error> {
    let patience = patience.as_millis().to_string();
    Ok(connect_options(settings, Durability::Flushed)?
        .application_name("errand verify")
        .options([
            ("default_transaction_read_only", "on"),
            ("statement_timeout", patience.as_str()),
            ("lock_timeout", "10s"),
            // Ends the statement when nobody waits for it any more.
            ("client_connection_check_interval", "5s"),
            ("work_mem", WORK_MEM),
            // Each statement runs once and reads everything, and its plan may well depend on what is in the tables.
            ("plan_cache_mode", "force_custom_plan"),
            ("enable_seqscan", "on"),
            ("enable_bitmapscan", "on"),
            ("enable_hashjoin", "on"),
            ("enable_mergejoin", "on"),
            ("enable_material", "on"),
        ]))
}
