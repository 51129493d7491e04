//! The apalis backend: hands the runs that the [claimer](super::claimer) has claimed to apalis.

use std::{
    convert::Infallible,
    task::{Context as TaskContext, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, builder::TaskBuilder},
    worker::context::WorkerContext,
};
use errand_shared::storage::queue::claims::Lease;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tower::layer::util::Identity;

use super::run_registry::ActiveRun;

/// A claimed run.
#[derive(Debug)]
pub(crate) struct ClaimedRun {
    pub(crate) lease: Lease,
    pub(crate) active_run: ActiveRun,
    /// Occupies one of the worker's slots until dropped.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The receiving end of the claimer's channel. The stream ends when the claimer does.
#[derive(Debug)]
pub(crate) struct LeaseQueue {
    claimed: mpsc::Receiver<ClaimedRun>,
}

impl LeaseQueue {
    pub(crate) const fn new(claimed: mpsc::Receiver<ClaimedRun>) -> Self {
        Self { claimed }
    }
}

impl Backend for LeaseQueue {
    type Task = Task<ClaimedRun>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _context: &mut TaskContext<'_>,
        _worker: &WorkerContext,
    ) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        context: &mut TaskContext<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Self::Error>>> {
        self.claimed.poll_recv(context).map(|claimed| {
            if let Some(claimed) = claimed {
                Some(Ok(TaskBuilder::new(claimed).build()))
            } else {
                // apalis waits for a stop even when its stream has ended.
                if let Err(error) = worker.stop() {
                    tracing::warn!(%error, "the apalis worker was not running");
                }
                None
            }
        })
    }

    fn poll_close(
        &mut self,
        _context: &mut TaskContext<'_>,
        _worker: &WorkerContext,
    ) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for LeaseQueue {
    type Args = ClaimedRun;
    type Id = errand_shared::Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &Self::Config {
        &()
    }

    fn middleware(&mut self, _worker: &mut WorkerContext) -> Self::Layer {
        Identity::new()
    }
}
