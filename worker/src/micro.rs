//! What the micro-benchmarks need of the inside. In no build but theirs.

use std::sync::Arc;

use apalis_core::worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeExt};
use errand_shared::{Uuid, storage::queue::claims::Lease};
use futures::FutureExt;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use crate::queue::{
    backend::{Claimed, LeaseQueue},
    run_registry::InFlight,
};

/// Passes leases through the queue to runs that end at once; returns when the last one has.
pub async fn pass_through(leases: Vec<Lease>, batch: usize) {
    let (out, claimed) = mpsc::channel(batch);
    let places = Arc::new(Semaphore::new(leases.len().max(1)));
    let in_flight = InFlight::default();
    let feed = async move {
        for lease in leases {
            let flight = in_flight.enter(&lease, Instant::now());
            let Ok(permit) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let claimed = Claimed {
                lease,
                flight,
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
        .build(move |claimed: Claimed| async move { drop(claimed) });
    let (ended, ()) = futures::join!(worker.run().boxed(), feed);
    if let Err(error) = ended {
        tracing::error!(%error, "the queue ended");
    }
    runs.close();
    runs.wait().await;
}
