//! Places in the path of a chat where a test can kill or stop the process. Compiled in only with the feature `failpoints`, which
//! release builds reject.
//!
//! At each failpoint the process reads the file that `ERRAND_FAILPOINT` names. If the file contains the failpoint's name, the
//! process deletes the file, so that it takes effect once, and kills itself. If the word `stop` follows the name, the process
//! stops itself instead, until it receives SIGCONT.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("failpoints are for tests: build with debug assertions");

/// Defines each failpoint once, in the order of a chat.
macro_rules! failpoints {
    ($($(#[$about:meta])* $point:ident = $name:literal,)*) => {
        /// A place where the process can be killed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Failpoint {
            $($(#[$about])* $point,)*
        }

        impl Failpoint {
            /// All failpoints, in the order of a chat.
            pub const ALL: &'static [Self] = &[$(Self::$point,)*];

            /// The name in files and reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }

            /// Whether the API reaches it; the worker reaches the others.
            pub const fn is_in_api(self) -> bool {
                matches!(
                    self,
                    Self::PostCommitted | Self::PostNotified | Self::RetryCommitted | Self::DecisionCommitted
                )
            }
        }
    };
}

failpoints! {
    /// API: the message is committed; no worker is notified and the caller has no response.
    PostCommitted = "post-committed",
    /// API: the notification is being sent; the caller has no response.
    PostNotified = "post-notified",
    /// API: a retried run is enqueued; no worker is notified.
    RetryCommitted = "retry-committed",
    /// API: a user's decision about a tool call is committed; no worker is notified.
    DecisionCommitted = "decision-committed",
    /// Worker: the notification was taken from Redis; the run is not claimed yet.
    NotificationPopped = "notification-popped",
    /// Worker: the claim is committed; the run is not executed yet.
    ClaimCommitted = "claim-committed",
    /// Worker: the model has requested tool calls; none has started.
    ToolsRequested = "tools-requested",
    /// Worker: the tools have executed and the step is written; the transaction is still open.
    StepWritten = "step-written",
    /// Worker: the step is committed.
    StepCommitted = "step-committed",
    /// Worker: the run waits for approval; no event is published.
    ApprovalRequested = "approval-requested",
    /// Worker: a claimed run has a deferred step; none of its pending calls has started.
    PendingCallsLoaded = "pending-calls-loaded",
    /// Worker: a call of an MCP tool is marked as started; the request has not been sent.
    McpCallStarted = "mcp-call-started",
    /// Worker: an MCP tool has answered; the result is not recorded yet.
    McpCallAnswered = "mcp-call-answered",
    /// Worker: the outcome of the run is decided; it is not written yet.
    BeforeFinish = "before-finish",
    /// Worker: the outcome is committed; nothing is published.
    FinishCommitted = "finish-committed",
    /// Worker: the outcome is being published; no worker is notified of the conversation's next run.
    FinishPublished = "finish-published",
    /// Worker: Redis has accepted the published outcome.
    RunFinishedSent = "run-finished-sent",
    /// Worker: a dead worker's runs are enqueued again; no worker is notified.
    Requeued = "requeued",
}

/// Kills or stops the process if this failpoint is armed.
#[cfg(feature = "failpoints")]
pub fn hit(point: Failpoint) {
    armed::hit(point);
}

/// Does nothing in this build.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn hit(_point: Failpoint) {}
