//! Steps that are journalled before their calls are made, and what users say to those that need consent.

use errand_shared::{
    Uuid,
    domain::events::final_seq,
    storage::{
        journal::{
            approvals::{self, DecisionOutcome},
            pending_calls::{self, Answer, Asked, Closing, OpenOutcome},
            steps::{self, RecordOutcome},
        },
        queue::claims::{self, Lease},
        runs,
    },
};
use errand_testkit::eventually;
use serde_json::json;

use crate::book::{Book, reply_to, step};

fn call(index: i16, needs_consent: bool) -> Asked {
    Asked {
        index,
        tool_call_id: format!("call_{index}"),
        tool_name: "delete_task".to_owned(),
        arguments: json!({"task_id": index}),
        refusal: None,
        needs_consent,
    }
}

async fn open(book: &Book, lease: &Lease, calls: &[Asked]) -> OpenOutcome {
    pending_calls::open(
        book.pool(),
        lease.run_id,
        lease.token,
        &step(0, 10, 5),
        calls,
        60.0,
    )
    .await
    .unwrap()
}

/// Answers calls of the first step.
async fn answer(book: &Book, lease: &Lease, indexes: &[i16], success: bool) -> RecordOutcome {
    let answers: Vec<_> = indexes
        .iter()
        .map(|&index| Answer {
            index,
            result: json!({"success": success}),
            success,
        })
        .collect();
    let mut connection = book.pool().acquire().await.unwrap();
    let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id)
        .await
        .unwrap();
    let recorded = pending_calls::answer(&mut transaction, lease.run_id, lease.token, 0, &answers, 1)
        .await
        .unwrap();
    match recorded {
        RecordOutcome::Written { .. } => transaction.commit().await.unwrap(),
        RecordOutcome::LeaseLost => transaction.rollback().await.unwrap(),
    }
    recorded
}

async fn decide(book: &Book, user_id: Uuid, run_id: Uuid, call: &str, approve: bool) -> DecisionOutcome {
    let mut transaction = book.pool().begin().await.unwrap();
    let decided = match approvals::lock(&mut transaction, user_id, run_id).await.unwrap() {
        Some(_) => approvals::decide(&mut transaction, run_id, call, approve)
            .await
            .unwrap(),
        None => DecisionOutcome::NoRun,
    };
    transaction.commit().await.unwrap();
    decided
}

/// A run whose calls of these needs are journalled; none of them is made.
async fn opened(book: &Book, needs: &[bool]) -> (Uuid, Lease, OpenOutcome) {
    let ada = book.user("Ada").await;
    let post = book.begin(ada, "go").await;
    let lease = book.claim(post.run_id).await;
    let calls: Vec<_> = needs
        .iter()
        .zip(0..)
        .map(|(need, index)| call(index, *need))
        .collect();
    let opened = open(book, &lease, &calls).await;
    (ada, lease, opened)
}

async fn written(book: &Book, table: &str) -> i64 {
    book.database
        .count(&format!("SELECT count(*) FROM {table}"))
        .await
}

#[tokio::test]
async fn a_step_is_opened_under_its_lease_only_and_not_once_its_user_wants_an_end() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let post = book.begin(ada, "go").await;
    let lost = book.claim(post.run_id).await;
    claims::release(book.pool(), lost.run_id, lost.token, None, 0.0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(open(&book, &lost, &[call(0, true)]).await, OpenOutcome::LeaseLost);
    let lease = book.claim(post.run_id).await;
    runs::request_cancel(book.pool(), ada, post.run_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        open(&book, &lease, &[call(0, true)]).await,
        OpenOutcome::CancelRequested
    );
    assert_eq!(
        (written(&book, "steps").await, written(&book, "asked_calls").await),
        (0, 0)
    );
}

#[tokio::test]
async fn a_step_follows_on_the_one_before_it() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let post = book.begin(ada, "go").await;
    let lease = book.claim(post.run_id).await;
    let second = step(1, 1, 1);
    let opened = pending_calls::open(
        book.pool(),
        lease.run_id,
        lease.token,
        &second,
        &[call(0, false)],
        1.0,
    )
    .await;
    assert_eq!(opened.unwrap(), OpenOutcome::LeaseLost);
}

#[tokio::test]
async fn what_is_left_of_a_step_comes_with_the_next_claim() {
    let book = Book::new().await;
    let (_, lease, opened) = opened(&book, &[false, false]).await;
    assert_eq!(opened, OpenOutcome::Open);
    let written = RecordOutcome::Written {
        cancel_requested: false,
    };
    assert_eq!(answer(&book, &lease, &[0], true).await, written);
    claims::release(book.pool(), lease.run_id, lease.token, None, 0.0)
        .await
        .unwrap()
        .unwrap();
    let heir = book.claim(lease.run_id).await;
    let left = &heir.journal[0];
    assert_eq!((left.calls.len(), left.asked.len()), (1, 1));
    assert_eq!(left.asked[0].call_index, 1);
    assert_eq!(left.asked[0].arguments, json!({"task_id": 1}));
    assert!(!left.asked[0].needs_consent && !left.asked[0].started);

    // Whoever had it before writes nothing any more.
    assert_eq!(answer(&book, &lease, &[1], true).await, RecordOutcome::LeaseLost);
    let start = |lease: &Lease| pending_calls::start(book.pool(), lease.run_id, lease.token, 0, 1);
    assert_eq!(start(&lease).await.unwrap(), None);
    assert_eq!(start(&heir).await.unwrap(), Some(false));
    assert_eq!(answer(&book, &heir, &[1], true).await, written);
    let finished = book.finish(&reply_to(&heir, "Done.")).await.unwrap();
    assert_eq!(finished.usage.prompt_tokens, 10, "the step's tokens count once");
}

#[tokio::test]
async fn a_parked_run_holds_no_lease_and_its_deadline_stands_still() {
    let book = Book::new().await;
    let (ada, lease, opened) = opened(&book, &[true]).await;
    assert!(matches!(opened, OpenOutcome::Parked(_)), "{opened:?}");
    assert!(
        !claims::holds(book.pool(), lease.run_id, lease.token)
            .await
            .unwrap()
    );
    assert!(book.try_claim(lease.run_id).await.is_none());
    // Its time goes on where it stood, however long its user has thought.
    book.database
        .execute("UPDATE runs SET time_left = interval '7 seconds'")
        .await
        .unwrap();
    let decided = decide(&book, ada, lease.run_id, "call_0", true).await;
    assert!(matches!(decided, DecisionOutcome::Queued(_)), "{decided:?}");
    let heir = book.claim(lease.run_id).await;
    assert_eq!((heir.deadline_at - heir.now).num_milliseconds(), 7000);
    let left = "SELECT count(*) FROM runs WHERE time_left IS NULL";
    assert_eq!(book.database.count(left).await, 1);
}

#[tokio::test]
async fn nothing_succeeds_without_the_consent_that_it_needs() {
    let book = Book::new().await;
    let (ada, parked, _) = opened(&book, &[true, true, false]).await;
    assert_eq!(
        decide(&book, ada, parked.run_id, "call_0", false).await,
        DecisionOutcome::Stored
    );
    let queued = decide(&book, ada, parked.run_id, "call_1", true).await;
    assert!(matches!(queued, DecisionOutcome::Queued(_)), "{queued:?}");
    let lease = book.claim(parked.run_id).await;
    let said: Vec<_> = lease.journal[0].asked.iter().map(|call| call.approved).collect();
    assert_eq!(said, [Some(false), Some(true), None]);
    assert_eq!(
        answer(&book, &lease, &[0, 1, 2], true).await,
        RecordOutcome::LeaseLost
    );
    assert_eq!(
        pending_calls::start(book.pool(), lease.run_id, lease.token, 0, 0)
            .await
            .unwrap(),
        None
    );
    assert_eq!(written(&book, "tool_calls").await, 0);
    assert!(matches!(
        answer(&book, &lease, &[0], false).await,
        RecordOutcome::Written { .. }
    ));
    assert!(matches!(
        answer(&book, &lease, &[1, 2], true).await,
        RecordOutcome::Written { .. }
    ));
}

#[tokio::test]
async fn of_two_decisions_at_once_the_last_queues_the_run() {
    let book = Book::new().await;
    let (ada, lease, _) = opened(&book, &[true, true]).await;
    let mut first = book.pool().begin().await.unwrap();
    approvals::lock(&mut first, ada, lease.run_id)
        .await
        .unwrap()
        .unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let second = decide(&book, ada, lease.run_id, "call_1", true);
    let first = async {
        eventually("the second waits for the first", || async {
            book.database.count(waiting).await > 0
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
async fn a_decision_is_made_once_and_in_time() {
    let book = Book::new().await;
    let (ada, lease, _) = opened(&book, &[true, true, true]).await;
    let eve = book.user("Eve").await;
    let run = lease.run_id;
    assert_eq!(
        decide(&book, eve, run, "call_0", true).await,
        DecisionOutcome::NoRun
    );
    assert_eq!(
        decide(&book, ada, run, "call_9", true).await,
        DecisionOutcome::NoCall
    );
    assert_eq!(
        decide(&book, ada, run, "call_0", true).await,
        DecisionOutcome::Stored
    );
    assert_eq!(
        decide(&book, ada, run, "call_0", true).await,
        DecisionOutcome::Already
    );
    assert_eq!(
        decide(&book, ada, run, "call_0", false).await,
        DecisionOutcome::Otherwise
    );
    assert!(approvals::expire(book.pool(), 10).await.unwrap().is_empty());
    book.database
        .execute("UPDATE runs SET parked_until = now(); UPDATE asked_calls SET expires_at = now() WHERE approved IS NULL")
        .await
        .unwrap();
    assert_eq!(
        decide(&book, ada, run, "call_1", true).await,
        DecisionOutcome::TooLate
    );
    let expired = approvals::expire(book.pool(), 10).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert!(approvals::expire(book.pool(), 10).await.unwrap().is_empty());
    assert_eq!(
        decide(&book, ada, run, "call_2", true).await,
        DecisionOutcome::TooLate
    );
    let heir = book.claim(run).await;
    let said: Vec<_> = heir.journal[0].asked.iter().map(|call| call.approved).collect();
    assert_eq!(said, [Some(true), None, None]);
}

#[tokio::test]
async fn a_cancelled_parked_run_that_nobody_has_ended_is_due() {
    let book = Book::new().await;
    let (ada, lease, _) = opened(&book, &[true]).await;
    runs::request_cancel(book.pool(), ada, lease.run_id)
        .await
        .unwrap()
        .unwrap();
    assert!(
        approvals::expire(book.pool(), 10).await.unwrap().is_empty(),
        "whoever cancels ends it"
    );
    let later = "UPDATE runs SET parked_until = parked_until - interval '5 seconds'";
    book.database.execute(later).await.unwrap();
    assert_eq!(approvals::expire(book.pool(), 10).await.unwrap().len(), 1);
    assert!(book.claim(lease.run_id).await.cancel_requested);
}

#[tokio::test]
async fn what_is_left_when_a_run_ends_is_answered_honestly() {
    let book = Book::new().await;
    let (_, lease, _) = opened(&book, &[false, false, false]).await;
    answer(&book, &lease, &[0], true).await;
    let marked = pending_calls::start(book.pool(), lease.run_id, lease.token, 0, 1).await;
    assert_eq!(marked.unwrap(), Some(false));
    let closing = Closing {
        run_id: lease.run_id,
        token: Some(lease.token),
        final_event_seq: final_seq(lease.epoch),
    };
    let stranger = Closing {
        token: Some(Uuid::now_v7()),
        ..closing
    };
    let late = Closing {
        token: None,
        ..closing
    };
    pending_calls::close(book.pool(), &[stranger, late])
        .await
        .unwrap();
    assert_eq!(written(&book, "tool_calls").await, 1, "it is not theirs");
    for _ in 0..2 {
        pending_calls::close(book.pool(), &[closing]).await.unwrap();
    }
    let answers =
        "SELECT COALESCE(split_part(result ->> 'error', ':', 1), 'made') FROM tool_calls ORDER BY call_index";
    assert_eq!(
        book.database.texts(answers).await,
        ["made", "OUTCOME_UNKNOWN", "NOT_DONE"]
    );
}
