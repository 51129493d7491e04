//! Waiting for what gives no signal: a row, a log line, a state of Redis.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `holds` does.
///
/// # Panics
/// If it does not within half a minute; `what` is said then.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
