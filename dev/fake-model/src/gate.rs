//! A gate that blocks requests until a test releases them, so that tests wait for signals instead of sleeping.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

/// Blocks requests until they are released. Clones share one gate.
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

    /// Number of requests that have reached the gate, including released and abandoned ones.
    pub fn arrived(&self) -> usize {
        *self.inner.arrived.borrow()
    }

    /// Waits until `n` requests in total have reached the gate.
    pub async fn wait_arrived(&self, n: usize) {
        let mut arrived = self.inner.arrived.subscribe();
        // Cannot fail: `self` owns the sender.
        drop(arrived.wait_for(|count| *count >= n).await);
    }

    /// Opens the gate permanently.
    pub fn release(&self) {
        self.inner.permits.close();
    }

    /// Releases one request: the one that has waited longest or, if none waits, the next to arrive.
    pub fn release_one(&self) {
        self.inner.permits.add_permits(1);
    }

    /// Counts an arrival and waits for its release.
    pub(crate) async fn pass(&self) {
        self.inner.arrived.send_modify(|count| *count += 1);
        // An error means that the gate is open permanently.
        if let Ok(permit) = self.inner.permits.acquire().await {
            permit.forget();
        }
    }
}
