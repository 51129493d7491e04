//! The checks of `errand-api verify`: what Errand promises, as statements over the whole database. Each check counts the rows that
//! it examined and lists those that violate the promise.
//!
//! A check is one statement, so it sees one snapshot regardless of concurrent writes. It reads whole tables, which no other
//! statement may do; the mark `/* verify */` at its beginning exempts it from the test of the query plans. It returns counts and the
//! first violations only, so the caller's memory is bounded; that of Postgres is bounded by `WORK_MEM`. A check relies on no
//! constraint or index, because it must find rows that were written while one was missing.

mod calls;
mod conversations;
mod liveness;
mod runs;
mod tasks;

use std::time::Duration;

use sqlx::{PgConnection, postgres::PgConnectOptions};

use super::{Durability, connect_options};
use crate::service::config::StoreSettings;

/// How much memory one sort or hash of a check may use before it continues in a temporary file.
const WORK_MEM: &str = "32MB";

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of rows examined.
    pub examined: i64,
    /// How many of them violate the promise.
    pub violations: i64,
    /// The first violations, such as `run <id>`.
    pub offenders: Vec<String>,
}

/// When a waiting run counts as stuck, and how many violations are listed.
#[derive(Clone, Copy, Debug)]
pub struct AuditLimits {
    /// Seconds after its worker's last heartbeat, or after its deadline, by which a run must have been rescued.
    pub rescue_seconds: f64,
    /// Maximum age of a live worker's heartbeat in seconds.
    pub alive_seconds: f64,
    /// Maximum seconds that a ready run may wait while workers have free slots.
    pub queued_seconds: f64,
    /// Maximum number of violations that a check lists.
    pub offenders: i64,
}

/// A check. [`Check::promise`] says what it verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// User messages and runs.
    Messages,
    /// Columns of finished and open runs.
    Ends,
    /// Replies.
    Replies,
    /// Numbers of final events.
    FinalEvents,
    /// Owners of runs and messages.
    Owners,
    /// Idempotency keys.
    Keys,
    /// One executing run per conversation.
    OneAtATime,
    /// Order of the runs of a conversation.
    Order,
    /// Sequence numbers of messages.
    Sequences,
    /// Order of a run's messages.
    Layout,
    /// Steps and tool calls.
    Journal,
    /// Calls of deferred steps, and their approvals.
    Consents,
    /// Tool results among the messages.
    ToolRows,
    /// Tool calls of the replies.
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
    /// Ready runs that no worker claims.
    Waiting,
    /// Calls that created and deleted tasks. Only on demand.
    Origins,
    /// Open runs. Only on demand.
    Settled,
}

impl Check {
    /// The checks that must pass in any database at any time.
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

    /// The name, as users see it.
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

    /// The promise, as a sentence.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Messages => "each user message has one run, and each run has one user message",
            Self::Ends => "a finished run has a finish time, an open run has none",
            Self::Replies => "a run that succeeded has one reply, any other run has none",
            Self::FinalEvents => "the final event of a finished run has a number of the run's epoch",
            Self::Owners => "runs and messages belong to their conversation's user",
            Self::Keys => "an idempotency key names a run of its user",
            Self::OneAtATime => "a conversation has at most one run that is running or awaits approval",
            Self::Order => "runs of a conversation execute and finish in the order of their messages",
            Self::Sequences => "message numbers are unique and not above the conversation's counter",
            Self::Layout => "a run's tool results and reply are consecutive and follow the earlier messages",
            Self::Journal => "each step and each tool call is recorded once",
            Self::Consents => {
                "a deferred call is made as recorded, has a result when the run finishes, and succeeds only with the approval it needs"
            }
            Self::ToolRows => {
                "the tool messages of a finished run are its recorded calls; an open run has none"
            }
            Self::ReplyCalls => "a reply's tool calls are the recorded calls",
            Self::Usage => "the token counts of a finished run are the sums over its steps",
            Self::TaskNumbers => "task numbers are unique and not above their user's counter",
            Self::Effects => {
                "no two tool calls added or deleted the same task, and deleted tasks do not exist"
            }
            Self::Orphans => "no run belongs to a dead worker for longer than a rescue takes",
            Self::Overdue => "no run is past its deadline or its approval for longer than a rescue takes",
            Self::Waiting => "no ready run waits while workers have free slots",
            Self::Origins => "each task was added by one call, and each missing task was deleted by one call",
            Self::Settled => "no run is open",
        }
    }

    /// Executes the check.
    ///
    /// # Errors
    /// A database error, also a timeout.
    pub async fn run(self, connection: &mut PgConnection, limits: AuditLimits) -> Result<Found, sqlx::Error> {
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

/// Returns connection options for the checks: read-only, with a short lock timeout, and with `timeout` as the statement timeout
/// instead of that of requests.
///
/// # Errors
/// The URL is not a Postgres URL.
pub fn options(settings: &StoreSettings, timeout: Duration) -> Result<PgConnectOptions, sqlx::Error> {
    let timeout = timeout.as_millis().to_string();
    Ok(connect_options(settings, Durability::Flushed)?
        .application_name("errand verify")
        .options([
            ("default_transaction_read_only", "on"),
            ("statement_timeout", timeout.as_str()),
            ("lock_timeout", "10s"),
            // Cancels the statement when the client has disconnected.
            ("client_connection_check_interval", "5s"),
            ("work_mem", WORK_MEM),
            // Each statement is executed once and reads everything, so its plan should depend on the contents of the tables.
            ("plan_cache_mode", "force_custom_plan"),
            ("enable_seqscan", "on"),
            ("enable_bitmapscan", "on"),
            ("enable_hashjoin", "on"),
            ("enable_mergejoin", "on"),
            ("enable_material", "on"),
        ]))
}
