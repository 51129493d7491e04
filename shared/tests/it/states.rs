//! Random schedules of everything that anybody may do to a run, crashes, repeats and late comers included: after each
//! action the rows are what the model of docs/run-states.md says.

mod consents;
mod model;
mod rare;
mod rescuer;
mod rows;
mod schedule;
mod stage;
mod turns;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use self::{schedule::action, stage::Stage};
use crate::book::Book;

#[test]
fn the_rows_are_what_the_model_of_the_states_says_after_every_action_of_every_schedule() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let book = runtime.block_on(Book::new());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 64,
        max_shrink_iters: 1000,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&vec(action(), 1..60), |schedule| {
        runtime.block_on(async {
            let mut stage = Stage::set(&book).await;
            for action in &schedule {
                stage.act(action).await;
                stage.compare().await;
            }
        });
        Ok(())
    });
    if let Err(TestError::Fail(why, schedule)) = &outcome {
        panic!("{why}\nafter {schedule:#?}\n{runner}");
    }
    outcome.unwrap();
}
