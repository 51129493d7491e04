//! What the heartbeat reports to the rest of the worker.
//!
//! A module of its own, so that its readers, such as the metrics, do not depend on the heartbeat itself.

use std::sync::{Arc, OnceLock};

use tokio::{sync::watch, time::Instant};

/// Whether this worker may claim runs and consider other workers dead.
#[derive(Clone, Debug)]
pub(crate) struct Liveness {
    /// The start of the current unbroken series of heartbeats; `None` after a missed one.
    pub(crate) alive_since: watch::Receiver<Option<Instant>>,
    /// Whether an admin drains this worker or has paused the queue. It claims nothing then.
    pub(crate) draining: watch::Receiver<bool>,
}

/// The time of the last successful heartbeat. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastHeartbeat(Arc<OnceLock<watch::Receiver<Option<Instant>>>>);

impl LastHeartbeat {
    /// Connects the reader to the heartbeat. A process has one heartbeat; further calls have no effect.
    pub(crate) fn connect(&self, heartbeat: &watch::Sender<Option<Instant>>) {
        self.0.get_or_init(|| heartbeat.subscribe());
    }

    /// `None` if no heartbeat has succeeded yet.
    pub(crate) fn get(&self) -> Option<Instant> {
        self.0.get().and_then(|last| *last.borrow())
    }
}
