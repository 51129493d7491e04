//! Polls a condition that has no signal to wait for: a row, a log line, a state of Redis.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for anything. An upper bound that also holds on a busy machine; no test may measure by it.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(2);

/// Waits until a condition is true. `what` describes it in the error message.
///
/// # Panics
/// If the condition is not true in time.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_true: impl FnMut() -> F) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_true().await {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
