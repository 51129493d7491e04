//! Waits that last as long as they say.

use std::time::Duration;

use futures_timer::Delay;

/// From here on a wait is tokio's, which rounds up twice to whole milliseconds, in its wheel and for `epoll`, but wakes no
/// other thread.
const LONG: Duration = Duration::from_secs(1);

/// Waits for so long, up to two milliseconds longer if it is a long time.
pub(super) async fn pause(time: Duration) {
    if time < LONG {
        Delay::new(time).await;
    } else {
        tokio::time::sleep(time).await;
    }
}
