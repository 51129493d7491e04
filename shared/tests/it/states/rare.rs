//! Schedules that chance seldom draws.

use errand_shared::storage::journal::approvals::{self, DecisionOutcome};

use super::{
    schedule::{Action, Fate},
    stage::Stage,
};
use crate::book::Book;

const POST: Action = Action::Post {
    user: 0,
    place: None,
    key: None,
    fate: Fate::Lives,
};

fn claim() -> Action {
    Action::Claim {
        worker: 0,
        hints: vec![None],
        fate: Fate::Lives,
    }
}

fn park() -> Action {
    Action::Open {
        lease: None,
        needs_consent: vec![true],
        fate: Fate::Lives,
    }
}

/// The stage as a schedule leaves it.
async fn after(book: &Book, schedule: impl IntoIterator<Item = Action>) -> Stage<'_> {
    let mut stage = Stage::set(book).await;
    for action in schedule {
        stage.act(&action).await;
        stage.compare().await;
    }
    stage
}

#[tokio::test]
async fn what_was_declined_or_decided_too_late_is_neither_started_nor_done_by_who_holds_the_run_next() {
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
        let start = Action::Start {
            lease: None,
            call: None,
        };
        let next = [claim(), start, answer(true), answer(false), answer(false)];
        let stage = after(
            &book,
            [POST, claim(), park()].into_iter().chain(refusal).chain(next),
        )
        .await;
        let calls = stage.model.asked.iter().map(|ask| (ask.started, ask.answered));
        assert_eq!(calls.collect::<Vec<_>>(), [(false, true)]);
        assert_eq!(stage.model.leases.len(), 2);
    }
}

#[tokio::test]
async fn a_call_that_was_asked_before_a_retry_is_not_what_the_run_waits_for_now() {
    let cancelled = [
        Action::RequestCancel { user: 0, run: None },
        Action::EndUnheld { target: None },
    ];
    let again = [Action::Retry { user: 0, run: None }, claim(), park()];
    let book = Book::new().await;
    let schedule = [POST, claim(), park()].into_iter().chain(cancelled).chain(again);
    let stage = after(&book, schedule).await;
    let mut connection = book.pool().acquire().await.unwrap();
    let decided = approvals::decide(&mut connection, stage.runs[0], "call_0_0", true).await;
    assert_eq!(decided.unwrap(), DecisionOutcome::TooLate);
    drop(connection);
    stage.compare().await;
}
