//! Micro-benchmarks of frequently called functions: `cargo micro`. They start Postgres without flushes and Redis, so that the disk does
//! not affect the results.

mod claim;
mod publish;
mod queue;
mod transcript;
mod wake;

use criterion::{Criterion, criterion_main};
use tokio::runtime::Runtime;

fn all() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    #[expect(
        clippy::expect_used,
        reason = "a benchmark without its surroundings can only fail"
    )]
    let runtime = Runtime::new().expect("a runtime");
    transcript::measure(&mut criterion);
    wake::measure(&mut criterion, &runtime);
    queue::measure(&mut criterion, &runtime);
    publish::measure(&mut criterion, &runtime);
    claim::measure(&mut criterion, &runtime);
    criterion.final_summary();
}

criterion_main!(all);
