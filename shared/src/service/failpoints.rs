//! Places in the path of a chat where a test may have the process killed or stopped. Nothing, unless compiled in.
//!
//! With the feature `failpoints`, which no release build can have, the process looks at each point into the file that
//! `ERRAND_FAILPOINT` names. If it holds the point's name, the file is taken away, so that it counts once, and the
//! process kills itself; if the word `stop` follows the name, it stops itself instead until somebody sends SIGCONT.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("kill points are for tests: never in a build without debug assertions");

/// Names each point once, in the order of a chat.
macro_rules! points {
    ($($(#[$about:meta])* $point:ident = $name:literal,)*) => {
        /// A place where a process may die.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Failpoint {
            $($(#[$about])* $point,)*
        }

        impl Failpoint {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$point,)*];

            /// Its name in files and reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }

            /// Whether it lies in the API's path; else it is in the worker's.
            pub const fn is_of_the_api(self) -> bool {
                matches!(
                    self,
                    Self::PostCommitted | Self::PostRung | Self::RetryCommitted | Self::DecisionCommitted
                )
            }
        }
    };
}

points! {
    /// API: the message is stored; nothing has been rung, nobody told.
    PostCommitted = "post-committed",
    /// API: the ring is on its way; the caller has no answer.
    PostRung = "post-rung",
    /// API: a retried run is queued again; nothing has been rung, nobody told.
    RetryCommitted = "retry-committed",
    /// API: a user's consent to a call is stored; nothing has been rung, nobody told.
    DecisionCommitted = "decision-committed",
    /// Worker: the hint is out of Redis, the run not yet claimed.
    HintPopped = "hint-popped",
    /// Worker: the claim is committed, the run not yet driven.
    ClaimCommitted = "claim-committed",
    /// Worker: the model has asked for tools, none of which has been called.
    ToolsAsked = "tools-asked",
    /// Worker: the tools have acted and the step is written, in a transaction that is open.
    StepWritten = "step-written",
    /// Worker: the step is committed.
    StepCommitted = "step-committed",
    /// Worker: a run is parked for its user's consent, and nobody told.
    Parked = "parked",
    /// Worker: a run goes on with calls that were journalled before they were made; none of them is made yet.
    CallsLeft = "calls-left",
    /// Worker: a call of somebody else's tool is marked as started; nobody has been asked.
    CallStarted = "call-started",
    /// Worker: somebody else's tool has answered, and its answer is not journalled.
    CallAnswered = "call-answered",
    /// Worker: the end is decided, and not yet written.
    BeforeFinish = "before-finish",
    /// Worker: the end is committed, and nobody told.
    FinishCommitted = "finish-committed",
    /// Worker: the news is on its way; the conversation's next run is not rung for.
    FinishTold = "finish-told",
    /// Worker: Redis has taken the news.
    NewsSent = "news-sent",
    /// Worker: a dead worker's runs are queued again, and nothing is rung.
    Requeued = "requeued",
}

/// Says that the process has come to a point.
#[cfg(feature = "failpoints")]
pub fn hit(point: Failpoint) {
    armed::hit(point);
}

/// Says that the process has come to a point. Nothing happens in this build.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn hit(_point: Failpoint) {}
