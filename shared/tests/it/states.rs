//! Random schedules of everything that anybody may do to a run, crashes, repeats and late comers included: after each
//! action the rows are what the model of docs/run-states.md says.

mod consents;
mod model;
mod rescuer;
mod rows;
mod schedule;
mod stage;
mod turns;

use errand_shared::db::approvals::{self, Decided};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use self::{
    schedule::{Action, Fate, action},
    stage::Stage,
};
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
    runtime.block_on(book.close());
}

/// A way that few random schedules go: to the worker that holds a run after its user has not consented.
#[tokio::test]
async fn what_was_declined_or_decided_too_late_is_neither_started_nor_done_by_who_holds_the_run_next() {
    let claim = || Action::Claim {
        worker: 0,
        hints: vec![None],
        fate: Fate::Lives,
    };
    let answer = |success| Action::Answer {
        lease: None,
        call: None,
        success,
        fate: Fate::Lives,
    };
    let declined = vec![Action::Decide {
        user: 0,
        call: None,
        approve: false,
        fate: Fate::Lives,
    }];
    let too_late = vec![Action::HourPasses { run: None }, Action::Expire];
    let book = Book::new().await;
    for refusal in [declined, too_late] {
        let before = [
            Action::Post {
                user: 0,
                place: None,
                key: None,
                fate: Fate::Lives,
            },
            claim(),
            Action::Open {
                lease: None,
                needs_consent: vec![true],
                fate: Fate::Lives,
            },
        ];
        let start = Action::Start {
            lease: None,
            call: None,
        };
        let after = [claim(), start, answer(true), answer(false), answer(false)];
        let mut stage = Stage::set(&book).await;
        for action in before.iter().chain(&refusal).chain(&after) {
            stage.act(action).await;
            stage.compare().await;
        }
        let held: Vec<_> = stage
            .model
            .asked
            .iter()
            .map(|ask| (ask.started, ask.answered))
            .collect();
        assert_eq!((stage.model.leases.len(), held), (2, vec![(false, true)]));
    }
    book.close().await;
}

#[tokio::test]
async fn a_call_that_was_asked_before_a_retry_is_not_what_the_run_waits_for_now() {
    let claim = || Action::Claim {
        worker: 0,
        hints: vec![None],
        fate: Fate::Lives,
    };
    let park = || Action::Open {
        lease: None,
        needs_consent: vec![true],
        fate: Fate::Lives,
    };
    let schedule = [
        Action::Post {
            user: 0,
            place: None,
            key: None,
            fate: Fate::Lives,
        },
        claim(),
        park(),
        Action::RequestCancel { user: 0, run: None },
        Action::EndUnheld { target: None },
        Action::Retry { user: 0, run: None },
        claim(),
        park(),
    ];
    let book = Book::new().await;
    let mut stage = Stage::set(&book).await;
    for action in &schedule {
        stage.act(action).await;
        stage.compare().await;
    }
    let mut connection = book.pool().acquire().await.unwrap();
    let decided = approvals::decide(&mut connection, stage.runs[0], "call_0_0", true).await;
    assert_eq!(decided.unwrap(), Decided::TooLate);
    drop(connection);
    stage.compare().await;
    book.close().await;
}
