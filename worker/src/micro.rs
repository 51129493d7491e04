//! The part of the worker that the micro-benchmarks measure. Compiled only for them.

use std::sync::Arc;

use apalis_core::worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeExt};
use errand_shared::{Uuid, storage::queue::claims::Lease};
use futures::FutureExt;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use crate::queue::{
    backend::{ClaimedRun, LeaseQueue},
    run_registry::RunRegistry,
};

/// Passes leases through the queue to runs that end immediately. Returns when the last one has ended.
pub async fn pass_through(leases: Vec<Lease>, batch: usize) {
    let (out, claimed) = mpsc::channel(batch);
    let slots = Arc::new(Semaphore::new(leases.len().max(1)));
    let active_runs = RunRegistry::default();
    let feed = async move {
        for lease in leases {
            let active_run = active_runs.add(&lease, Instant::now());
            let Ok(permit) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let claimed = ClaimedRun {
                lease,
                active_run,
                permit,
            };
            if out.send(claimed).await.is_err() {
                return;
            }
        }
    };
    let runs = tokio_util::task::TaskTracker::new();
    let spawner = runs.clone();
    let worker = WorkerBuilder::new(format!("micro-{}", Uuid::now_v7()))
        .backend(LeaseQueue::new(claimed))
        .parallelize(move |run| spawner.spawn(run))
        .build(move |claimed: ClaimedRun| async move { drop(claimed) });
    let (ended, ()) = futures::join!(worker.run().boxed(), feed);
    if let Err(error) = ended {
        tracing::error!(%error, "the queue failed");
    }
    runs.close();
    runs.wait().await;
}
