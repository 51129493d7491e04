//! Our queue for apalis: hints from a Redis list, leases from Postgres.
//!
//! Redis holds run ids and nothing else. A hint that is lost, doubled, late or garbage costs at most a delay: the claim
//! in Postgres decides who gets a run, and the rescuer rings again for what waits. A list with a blocking pop, and not
//! a stream, because nothing in it needs to be acknowledged, claimed or trimmed.

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

use super::run_registry::Flight;

/// A claimed run with the place that it takes in this worker.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// The run.
    pub(crate) lease: Lease,
    /// Its entry among the runs in flight, made as soon as it was claimed.
    pub(crate) flight: Flight,
    /// One of the worker's places, free again when dropped.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The worker's end of the queue. It ends when its feeder does, and never fails.
#[derive(Debug)]
pub(crate) struct LeaseQueue {
    claimed: mpsc::Receiver<Claimed>,
}

impl LeaseQueue {
    /// The queue that this receiver's sender feeds.
    pub(crate) const fn new(claimed: mpsc::Receiver<Claimed>) -> Self {
        Self { claimed }
    }
}

impl Backend for LeaseQueue {
    type Task = Task<Claimed>;
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
                // apalis waits for a stop even after its queue has ended.
                if let Err(error) = worker.stop() {
                    tracing::warn!(%error, "the queue's worker was not running");
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
    type Args = Claimed;
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
