//! Measures how long it takes to pass claimed runs through the queue: the channel, apalis, a tokio task for each run.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use errand_shared::{
    Uuid,
    storage::queue::{claims::Lease, posts::Origin},
};
use tokio::runtime::Runtime;

const RUNS: u64 = 1000;

fn lease() -> Lease {
    Lease {
        run_id: Uuid::now_v7(),
        token: Uuid::now_v7(),
        conversation_id: Uuid::now_v7(),
        user_id: Uuid::now_v7(),
        user_name: "Ada".to_owned(),
        agent: None,
        attempt: 1,
        failures: 0,
        epoch: 1,
        now: chrono::DateTime::UNIX_EPOCH,
        queued_at: chrono::DateTime::UNIX_EPOCH,
        ready_at: chrono::DateTime::UNIX_EPOCH,
        deadline_at: chrono::DateTime::UNIX_EPOCH,
        cancel_requested: false,
        origin: Origin::default(),
        message: "Add a task to measure".to_owned(),
        history: Vec::new(),
        journal: Vec::new(),
    }
}

pub(crate) fn measure(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(RUNS));
    group.bench_function("1,000 claimed runs", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let leases: Vec<_> = (0..RUNS).map(|_| lease()).collect();
                    let began = Instant::now();
                    errand_worker::micro::pass_through(leases, 64).await;
                    took += began.elapsed();
                }
                took
            })
        });
    });
    group.finish();
}
