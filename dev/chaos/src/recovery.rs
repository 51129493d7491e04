//! Measures how soon after a fault the first new message is answered.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    client::{Client, User},
    load,
};

/// The guarantee.
pub(crate) const RECOVERED_WITHIN: Duration = Duration::from_secs(10);
/// When the measurement gives up.
const GIVE_UP_AFTER: Duration = Duration::from_mins(1);

/// Sends new messages through each API until one succeeds. Returns the longer of the two times since `ended`.
pub(crate) async fn measure(client: &Client, user: &User, fault: &str, ended: Instant) -> Duration {
    let (one, other) = tokio::join!(answered(client, user, 0, ended), answered(client, user, 1, ended));
    let recovery = one.max(other);
    if recovery > RECOVERED_WITHIN {
        client.record.violation(
            "the first new message after a fault is answered within 10 s",
            format!("{recovery:.1?} after {fault}"),
        );
    }
    recovery
}

async fn answered(client: &Client, user: &User, api: usize, ended: Instant) -> Duration {
    while ended.elapsed() < GIVE_UP_AFTER {
        let mut sent = load::message(user, true, None, 0);
        client
            .send_until_answered(user, &mut sent, api, GIVE_UP_AFTER)
            .await;
        let has_succeeded = sent
            .answer
            .as_ref()
            .and_then(|answer| answer.get("status")?.as_str())
            == Some("succeeded");
        let took = ended.elapsed();
        client.record.add(sent);
        if has_succeeded {
            return took;
        }
        sleep(Duration::from_millis(100)).await;
    }
    ended.elapsed()
}
