//! Fixed schedules that random generation rarely produces.

use errand_shared::storage::journal::approvals::{self, DecisionOutcome};

use super::{
    harness::Harness,
    schedule::{Action, Fate},
};
use crate::test_db::TestDb;

const POST: Action = Action::Post {
    user: 0,
    place: None,
    key: None,
    fate: Fate::Lives,
};

fn claim() -> Action {
    Action::Claim {
        worker: 0,
        picks: vec![None],
        fate: Fate::Lives,
    }
}

fn await_approval() -> Action {
    Action::Defer {
        lease: None,
        needs_approval: vec![true],
        fate: Fate::Lives,
    }
}

/// Returns the harness after a schedule.
async fn after(db: &TestDb, schedule: impl IntoIterator<Item = Action>) -> Harness<'_> {
    let mut harness = Harness::new(db).await;
    for action in schedule {
        harness.act(&action).await;
        harness.compare().await;
    }
    harness
}

#[tokio::test]
async fn declined_or_expired_call_is_never_started() {
    let record = |success| Action::RecordResult {
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
    let db = TestDb::new().await;
    for refusal in [declined, too_late] {
        let start = Action::Start {
            lease: None,
            call: None,
        };
        let next = [claim(), start, record(true), record(false), record(false)];
        let harness = after(
            &db,
            [POST, claim(), await_approval()]
                .into_iter()
                .chain(refusal)
                .chain(next),
        )
        .await;
        let calls = harness
            .model
            .asked
            .iter()
            .map(|ask| (ask.started, ask.has_result));
        assert_eq!(calls.collect::<Vec<_>>(), [(false, true)]);
        assert_eq!(harness.model.leases.len(), 2);
    }
}

#[tokio::test]
async fn decision_about_a_call_from_before_a_retry_is_too_late() {
    let cancelled = [
        Action::RequestCancel { user: 0, run: None },
        Action::FinishUnclaimed { target: None },
    ];
    let again = [Action::Retry { user: 0, run: None }, claim(), await_approval()];
    let db = TestDb::new().await;
    let schedule = [POST, claim(), await_approval()]
        .into_iter()
        .chain(cancelled)
        .chain(again);
    let harness = after(&db, schedule).await;
    let mut connection = db.pool().acquire().await.unwrap();
    let outcome = approvals::decide(&mut connection, harness.runs[0], "call_0_0", true).await;
    assert_eq!(outcome.unwrap(), DecisionOutcome::TooLate);
    drop(connection);
    harness.compare().await;
}
