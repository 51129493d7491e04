//! Deferred steps, and the decisions about their calls that need approval.

use errand_shared::{
    Uuid,
    domain::events::final_seq,
    storage::{
        journal::{
            approvals::{self, DecisionOutcome},
            pending_calls::{self, CallResult, DeferOutcome, EndingRun, PendingCall},
            steps::{self, RecordOutcome},
        },
        queue::claims::{self, Lease},
        runs,
    },
};
use errand_testkit::eventually;
use serde_json::json;

use crate::test_db::{TestDb, reply_to, step};

fn call(index: i16, needs_approval: bool) -> PendingCall {
    PendingCall {
        index,
        tool_call_id: format!("call_{index}"),
        tool_name: "delete_task".to_owned(),
        arguments: json!({"task_id": index}),
        refusal: None,
        needs_approval,
        approved: None,
        started: false,
    }
}

async fn defer(db: &TestDb, lease: &Lease, calls: &[PendingCall]) -> DeferOutcome {
    pending_calls::defer_step(db.pool(), lease.run_id, lease.token, &step(0, 10, 5), calls, 60.0)
        .await
        .unwrap()
}

/// Records results of the first step's calls.
async fn record(db: &TestDb, lease: &Lease, indexes: &[i16], success: bool) -> RecordOutcome {
    let answers: Vec<_> = indexes
        .iter()
        .map(|&index| CallResult {
            index,
            result: json!({"success": success}),
            success,
        })
        .collect();
    let mut connection = db.pool().acquire().await.unwrap();
    let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id)
        .await
        .unwrap();
    let recorded = pending_calls::record_results(&mut transaction, lease.run_id, lease.token, 0, &answers, 1)
        .await
        .unwrap();
    match recorded {
        RecordOutcome::Written { .. } => transaction.commit().await.unwrap(),
        RecordOutcome::LeaseLost => transaction.rollback().await.unwrap(),
    }
    recorded
}

async fn decide(db: &TestDb, user_id: Uuid, run_id: Uuid, call: &str, approve: bool) -> DecisionOutcome {
    let mut transaction = db.pool().begin().await.unwrap();
    let decided = match approvals::lock(&mut transaction, user_id, run_id).await.unwrap() {
        Some(_) => approvals::decide(&mut transaction, run_id, call, approve)
            .await
            .unwrap(),
        None => DecisionOutcome::RunNotFound,
    };
    transaction.commit().await.unwrap();
    decided
}

/// Given a run with a deferred step whose calls need approval or not, none of them made.
async fn run_with_deferred_step(db: &TestDb, needs: &[bool]) -> (Uuid, Lease, DeferOutcome) {
    let ada = db.user("Ada").await;
    let post = db.start_conversation(ada, "go").await;
    let lease = db.claim(post.run_id).await;
    let calls: Vec<_> = needs
        .iter()
        .zip(0..)
        .map(|(need, index)| call(index, *need))
        .collect();
    let opened = defer(db, &lease, &calls).await;
    (ada, lease, opened)
}

async fn count(db: &TestDb, table: &str) -> i64 {
    db.database.count(&format!("SELECT count(*) FROM {table}")).await
}

#[tokio::test]
async fn deferring_a_step_requires_the_lease_and_no_cancellation() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let post = db.start_conversation(ada, "go").await;
    let lost = db.claim(post.run_id).await;
    claims::release(db.pool(), lost.run_id, lost.token, None, 0.0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(defer(&db, &lost, &[call(0, true)]).await, DeferOutcome::LeaseLost);
    let lease = db.claim(post.run_id).await;
    runs::request_cancel(db.pool(), ada, post.run_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        defer(&db, &lease, &[call(0, true)]).await,
        DeferOutcome::CancelRequested
    );
    assert_eq!(
        (count(&db, "steps").await, count(&db, "asked_calls").await),
        (0, 0)
    );
}

#[tokio::test]
async fn deferred_step_requires_the_previous_step() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let post = db.start_conversation(ada, "go").await;
    let lease = db.claim(post.run_id).await;
    let second = step(1, 1, 1);
    let opened = pending_calls::defer_step(
        db.pool(),
        lease.run_id,
        lease.token,
        &second,
        &[call(0, false)],
        1.0,
    )
    .await;
    assert_eq!(opened.unwrap(), DeferOutcome::LeaseLost);
}

#[tokio::test]
async fn next_claim_returns_the_pending_calls() {
    let db = TestDb::new().await;
    let (_, lease, opened) = run_with_deferred_step(&db, &[false, false]).await;
    assert_eq!(opened, DeferOutcome::Recorded);
    let written = RecordOutcome::Written {
        cancel_requested: false,
    };
    assert_eq!(record(&db, &lease, &[0], true).await, written);
    claims::release(db.pool(), lease.run_id, lease.token, None, 0.0)
        .await
        .unwrap()
        .unwrap();
    let next = db.claim(lease.run_id).await;
    let left = &next.journal[0];
    assert_eq!((left.calls.len(), left.pending.len()), (1, 1));
    assert_eq!(left.pending[0].index, 1);
    assert_eq!(left.pending[0].arguments, json!({"task_id": 1}));
    assert!(!left.pending[0].needs_approval && !left.pending[0].started);

    // The former owner can no longer write.
    assert_eq!(record(&db, &lease, &[1], true).await, RecordOutcome::LeaseLost);
    let start = |lease: &Lease| pending_calls::mark_started(db.pool(), lease.run_id, lease.token, 0, 1);
    assert_eq!(start(&lease).await.unwrap(), None);
    assert_eq!(start(&next).await.unwrap(), Some(false));
    assert_eq!(record(&db, &next, &[1], true).await, written);
    let finished = db.finish(&reply_to(&next, "Done.")).await.unwrap();
    assert_eq!(
        finished.usage.prompt_tokens, 10,
        "the tokens of the step count once"
    );
}

#[tokio::test]
async fn run_that_awaits_approval_has_no_lease_and_a_suspended_deadline() {
    let db = TestDb::new().await;
    let (ada, lease, opened) = run_with_deferred_step(&db, &[true]).await;
    assert!(matches!(opened, DeferOutcome::AwaitingApproval(_)), "{opened:?}");
    assert!(
        !claims::is_held(db.pool(), lease.run_id, lease.token)
            .await
            .unwrap()
    );
    assert!(db.try_claim(lease.run_id).await.is_none());
    // After the approval, the deadline continues with the time that was left.
    db.database
        .execute("UPDATE runs SET time_left = interval '7 seconds'")
        .await
        .unwrap();
    let decided = decide(&db, ada, lease.run_id, "call_0", true).await;
    assert!(matches!(decided, DecisionOutcome::Queued(_)), "{decided:?}");
    let next = db.claim(lease.run_id).await;
    assert_eq!((next.deadline_at - next.now).num_milliseconds(), 7000);
    let left = "SELECT count(*) FROM runs WHERE time_left IS NULL";
    assert_eq!(db.database.count(left).await, 1);
}

#[tokio::test]
async fn call_cannot_succeed_without_its_approval() {
    let db = TestDb::new().await;
    let (ada, waiting, _) = run_with_deferred_step(&db, &[true, true, false]).await;
    assert_eq!(
        decide(&db, ada, waiting.run_id, "call_0", false).await,
        DecisionOutcome::Stored
    );
    let queued = decide(&db, ada, waiting.run_id, "call_1", true).await;
    assert!(matches!(queued, DecisionOutcome::Queued(_)), "{queued:?}");
    let lease = db.claim(waiting.run_id).await;
    let decisions: Vec<_> = lease.journal[0]
        .pending
        .iter()
        .map(|call| call.approved)
        .collect();
    assert_eq!(decisions, [Some(false), Some(true), None]);
    assert_eq!(
        record(&db, &lease, &[0, 1, 2], true).await,
        RecordOutcome::LeaseLost
    );
    assert_eq!(
        pending_calls::mark_started(db.pool(), lease.run_id, lease.token, 0, 0)
            .await
            .unwrap(),
        None
    );
    assert_eq!(count(&db, "tool_calls").await, 0);
    assert!(matches!(
        record(&db, &lease, &[0], false).await,
        RecordOutcome::Written { .. }
    ));
    assert!(matches!(
        record(&db, &lease, &[1, 2], true).await,
        RecordOutcome::Written { .. }
    ));
}

#[tokio::test]
async fn last_of_two_concurrent_decisions_queues_the_run() {
    let db = TestDb::new().await;
    let (ada, lease, _) = run_with_deferred_step(&db, &[true, true]).await;
    let mut first = db.pool().begin().await.unwrap();
    approvals::lock(&mut first, ada, lease.run_id)
        .await
        .unwrap()
        .unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let second = decide(&db, ada, lease.run_id, "call_1", true);
    let first = async {
        eventually("the second decision to wait for the first", || async {
            db.database.count(waiting).await > 0
        })
        .await;
        let decided = approvals::decide(&mut first, lease.run_id, "call_0", true)
            .await
            .unwrap();
        first.commit().await.unwrap();
        decided
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first, DecisionOutcome::Stored);
    assert!(matches!(second, DecisionOutcome::Queued(_)), "{second:?}");
}

#[tokio::test]
async fn decision_is_accepted_once_and_before_it_expires() {
    let db = TestDb::new().await;
    let (ada, lease, _) = run_with_deferred_step(&db, &[true, true, true]).await;
    let eve = db.user("Eve").await;
    let run = lease.run_id;
    assert_eq!(
        decide(&db, eve, run, "call_0", true).await,
        DecisionOutcome::RunNotFound
    );
    assert_eq!(
        decide(&db, ada, run, "call_9", true).await,
        DecisionOutcome::CallNotFound
    );
    assert_eq!(
        decide(&db, ada, run, "call_0", true).await,
        DecisionOutcome::Stored
    );
    assert_eq!(
        decide(&db, ada, run, "call_0", true).await,
        DecisionOutcome::SameAsBefore
    );
    assert_eq!(
        decide(&db, ada, run, "call_0", false).await,
        DecisionOutcome::Conflicting
    );
    assert!(approvals::expire(db.pool(), 10).await.unwrap().is_empty());
    db.database
        .execute("UPDATE runs SET parked_until = now(); UPDATE asked_calls SET expires_at = now() WHERE approved IS NULL")
        .await
        .unwrap();
    assert_eq!(
        decide(&db, ada, run, "call_1", true).await,
        DecisionOutcome::TooLate
    );
    let expired = approvals::expire(db.pool(), 10).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert!(approvals::expire(db.pool(), 10).await.unwrap().is_empty());
    assert_eq!(
        decide(&db, ada, run, "call_2", true).await,
        DecisionOutcome::TooLate
    );
    let next = db.claim(run).await;
    let decisions: Vec<_> = next.journal[0].pending.iter().map(|call| call.approved).collect();
    assert_eq!(decisions, [Some(true), None, None]);
}

#[tokio::test]
async fn abandoned_cancellation_of_a_waiting_run_is_found() {
    let db = TestDb::new().await;
    let (ada, lease, _) = run_with_deferred_step(&db, &[true]).await;
    runs::request_cancel(db.pool(), ada, lease.run_id)
        .await
        .unwrap()
        .unwrap();
    assert!(
        approvals::expire(db.pool(), 10).await.unwrap().is_empty(),
        "the process that cancels it should finish it"
    );
    let later = "UPDATE runs SET parked_until = parked_until - interval '5 seconds'";
    db.database.execute(later).await.unwrap();
    assert_eq!(approvals::expire(db.pool(), 10).await.unwrap().len(), 1);
    assert!(db.claim(lease.run_id).await.cancel_requested);
}

#[tokio::test]
async fn pending_calls_of_a_finished_run_get_truthful_results() {
    let db = TestDb::new().await;
    let (_, lease, _) = run_with_deferred_step(&db, &[false, false, false]).await;
    record(&db, &lease, &[0], true).await;
    let marked = pending_calls::mark_started(db.pool(), lease.run_id, lease.token, 0, 1).await;
    assert_eq!(marked.unwrap(), Some(false));
    let ending = EndingRun {
        run_id: lease.run_id,
        token: Some(lease.token),
        final_event_seq: final_seq(lease.epoch),
    };
    let stranger = EndingRun {
        token: Some(Uuid::now_v7()),
        ..ending
    };
    let late = EndingRun {
        token: None,
        ..ending
    };
    pending_calls::settle(db.pool(), &[stranger, late]).await.unwrap();
    assert_eq!(count(&db, "tool_calls").await, 1, "neither owns the run");
    for _ in 0..2 {
        pending_calls::settle(db.pool(), &[ending]).await.unwrap();
    }
    let answers =
        "SELECT COALESCE(split_part(result ->> 'error', ':', 1), 'made') FROM tool_calls ORDER BY call_index";
    assert_eq!(
        db.database.texts(answers).await,
        ["made", "OUTCOME_UNKNOWN", "NOT_DONE"]
    );
}
