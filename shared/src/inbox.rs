//! What a task takes from its inbox in one go.

use tokio::{sync::mpsc, task::yield_now};

/// Adds to what was received, up to `most` in all, what every task that is ready has to send.
///
/// A task that is woken goes before those that were ready already, so whoever waits for the first of many sees no other
/// until they have had their turn. When there are no others this costs one look at the system's events.
pub(crate) async fn fill<T>(inbox: &mut mpsc::Receiver<T>, received: &mut Vec<T>, most: usize) {
    yield_now().await;
    while received.len() < most
        && let Ok(one) = inbox.try_recv()
    {
        received.push(one);
    }
}
