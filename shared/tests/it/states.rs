//! Random schedules of all operations on runs, including crashes, repeats and stale leases. After every action, the rows match a
//! model of `docs/RUN_STATES.md`.

mod approvals;
mod execution;
mod fixed;
mod harness;
mod model;
mod rescuer;
mod rows;
mod schedule;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use self::{harness::Harness, schedule::action};
use crate::test_db::TestDb;

#[test]
fn rows_match_the_model_after_every_action_of_random_schedules() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let db = runtime.block_on(TestDb::new());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 64,
        max_shrink_iters: 1000,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&vec(action(), 1..60), |schedule| {
        runtime.block_on(async {
            let mut harness = Harness::new(&db).await;
            for action in &schedule {
                harness.act(action).await;
                harness.compare().await;
            }
        });
        Ok(())
    });
    if let Err(TestError::Fail(why, schedule)) = &outcome {
        panic!("{why}\nafter {schedule:#?}\n{runner}");
    }
    outcome.unwrap();
}
