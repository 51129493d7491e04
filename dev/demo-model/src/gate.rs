//! A gate that holds requests back until a test lets them through, so that tests wait on signals.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

/// Holds requests back. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    arrived: watch::Sender<usize>,
    permits: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                arrived: watch::Sender::new(0),
                permits: Semaphore::new(0),
            }),
        }
    }

    /// How many requests have come to the gate, those included that went on or went away.
    pub fn arrived(&self) -> usize {
        *self.inner.arrived.borrow()
    }

    /// Waits until `n` requests in all have come to the gate.
    pub async fn wait_arrived(&self, n: usize) {
        let mut arrived = self.inner.arrived.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        drop(arrived.wait_for(|count| *count >= n).await);
    }

    /// Opens the gate for good: for those who wait and for all who come.
    pub fn release(&self) {
        self.inner.permits.close();
    }

    /// Lets one request through: the first that waits, or else the next that comes.
    pub fn release_one(&self) {
        self.inner.permits.add_permits(1);
    }

    /// Arrives, and waits to be let through.
    pub(crate) async fn pass(&self) {
        self.inner.arrived.send_modify(|count| *count += 1);
        // An error means that the gate was opened for good.
        if let Ok(permit) = self.inner.permits.acquire().await {
            permit.forget();
        }
    }
}
