//! Measures how long it takes to wake one of 10,000 waiting requests, and all of them.

use std::time::{Duration, Instant};

use criterion::Criterion;
use errand_api::micro::Waiters;
use errand_shared::{
    Uuid,
    domain::{
        chat::{ChatResponse, Usage},
        events::RunEnd,
        run::RunStatus,
    },
};
use tokio::{runtime::Runtime, task::JoinSet};

const WAITING: usize = 10_000;

fn end(user_id: Uuid, run_id: Uuid) -> RunEnd {
    RunEnd {
        user_id,
        seq: 1,
        attempt: 1,
        at: chrono::DateTime::UNIX_EPOCH,
        response: ChatResponse {
            conversation_id: Uuid::nil(),
            message: "Done.".to_owned(),
            tool_calls: Vec::new(),
            usage: Usage::default(),
            run_id,
            status: RunStatus::Succeeded,
            approvals: Vec::new(),
            problem: None,
        },
        timing: None,
    }
}

/// Starts the waits and returns their runs.
fn wait(waiters: &Waiters, waits: &mut JoinSet<()>) -> Vec<Uuid> {
    let ids: Vec<_> = (0..WAITING).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        waits.spawn(waiters.wait(Uuid::nil(), *id));
    }
    ids
}

pub(crate) fn measure(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("wake");
    group.bench_function("one of 10,000", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let waiters = Waiters::default();
                let mut waits = JoinSet::new();
                wait(&waiters, &mut waits);
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let id = Uuid::now_v7();
                    let mut woken = JoinSet::new();
                    woken.spawn(waiters.wait(Uuid::nil(), id));
                    tokio::task::yield_now().await;
                    let start = Instant::now();
                    waiters.report_finished(end(Uuid::nil(), id));
                    drop(woken.join_next().await);
                    took += start.elapsed();
                }
                took
            })
        });
    });
    group.bench_function("all of 10,000", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let waiters = Waiters::default();
                    let mut waits = JoinSet::new();
                    let ids = wait(&waiters, &mut waits);
                    tokio::task::yield_now().await;
                    let start = Instant::now();
                    for id in ids {
                        waiters.report_finished(end(Uuid::nil(), id));
                    }
                    while waits.join_next().await.is_some() {}
                    took += start.elapsed();
                }
                took
            })
        });
    });
    group.finish();
}
