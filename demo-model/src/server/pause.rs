//! Waits that last as long as they say.

use std::time::Duration;

use futures_timer::Delay;

/// From here on a wait is tokio's, which rounds up twice to whole milliseconds, in its wheel and for `epoll`, but wakes no
/// other thread.
const LONG: Duration = Duration::from_secs(1);

/// Waits for so long: to a tenth of a millisecond or so if it is short, to two if it is not.
pub(super) async fn pause(time: Duration) {
    if time < LONG {
        Delay::new(time).await;
    } else {
        tokio::time::sleep(time).await;
    }
}
