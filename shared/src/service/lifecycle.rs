//! Start and stop of a process: a tracker for every background task and a token that asks them to stop.

use std::{future::Future, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The lifecycle of a process. A soft stop comes first (accept nothing new), then the process waits for what still runs. No tokio
/// task is detached: all are spawned here.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// A lifecycle that is not stopping.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a future that ends by itself.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(future);
    }

    /// Spawns a future that is dropped when the process is asked to stop.
    pub fn spawn_until_stopped<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = future => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Asks everything to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Completes when the process was asked to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Whether the process was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// The token behind [`Self::stopped`], for parts that take one.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits for at most `grace` until every spawned future has ended. Returns whether all have.
    pub async fn drained(&self, grace: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }

    /// Stops on SIGTERM or SIGINT.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn stop_on_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
                _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
                () = stop.cancelled() => {}
            }
            stop.cancel();
        });
        Ok(())
    }
}
