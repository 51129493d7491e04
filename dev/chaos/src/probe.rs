//! How soon after a fault the first new message is answered.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    client::{Client, User},
    load,
};

/// The promise.
pub(crate) const RECOVERED_WITHIN: Duration = Duration::from_secs(10);
/// When nobody waits any longer.
const HOPELESS: Duration = Duration::from_mins(1);

/// Sends new messages through each API until one was answered with success; gives the slower of the two times.
pub(crate) async fn recovery(client: &Client, user: &User, fault: &str, ended: Instant) -> Duration {
    let (one, other) = tokio::join!(answered(client, user, 0, ended), answered(client, user, 1, ended));
    let recovery = one.max(other);
    if recovery > RECOVERED_WITHIN {
        let detail = format!("{recovery:.1?} after {fault}");
        client.record.broken(
            "the first new message after a fault is answered within 10 s",
            detail,
        );
    }
    recovery
}

async fn answered(client: &Client, user: &User, api: usize, ended: Instant) -> Duration {
    while ended.elapsed() < HOPELESS {
        let mut sent = load::message(user, true, None, 0);
        client.insist(user, &mut sent, api, HOPELESS).await;
        let succeeded = sent
            .answer
            .as_ref()
            .and_then(|answer| answer.get("status")?.as_str())
            == Some("succeeded");
        let took = ended.elapsed();
        client.record.sent(sent);
        if succeeded {
            return took;
        }
        sleep(Duration::from_millis(100)).await;
    }
    ended.elapsed()
}
