//! Finish: at most once, complete, and followed by the next run of the conversation.

use std::time::Duration;

use errand_shared::{
    domain::run::RunStatus,
    storage::{
        journal::steps::{self, RecordedCall},
        queue::posts::{self, PostOutcome},
        runs::{
            self,
            finish::{self, Ending, Finish},
        },
    },
};
use futures::future::join_all;
use serde_json::json;

use crate::test_db::{TestDb, next_post, reply_to, step, wait_for_blocked_session};

#[tokio::test]
async fn run_with_requested_cancellation_finishes_as_cancelled_without_a_reply() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let post = db.start_conversation(ada, "hi").await;
    let lease = db.claim(post.run_id).await;
    runs::request_cancel(db.pool(), ada, post.run_id)
        .await
        .unwrap()
        .unwrap();
    let finished = db.finish(&reply_to(&lease, "Hello!")).await.unwrap();
    assert_eq!(finished.status, RunStatus::Cancelled);
    assert_eq!(db.assistant_messages().await, 0);
    let failed = db.continue_conversation(&post, "again").await;
    let lease = db.claim(failed.run_id).await;
    runs::request_cancel(db.pool(), ada, failed.run_id)
        .await
        .unwrap()
        .unwrap();
    let mut finish = reply_to(&lease, "");
    finish.ending = Ending::Failed {
        reason: "r".to_owned(),
        error: "e".to_owned(),
    };
    assert_eq!(
        db.finish(&finish).await.unwrap().status,
        RunStatus::Cancelled,
        "the cancellation takes precedence over the failure"
    );
}

#[tokio::test]
async fn concurrent_finishes_of_a_run_write_one_reply() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    for _ in 0..20 {
        let lease = db.claim(db.start_conversation(ada, "hi").await.run_id).await;
        let (one, two) = (reply_to(&lease, "one"), reply_to(&lease, "two"));
        let (one, two) = tokio::join!(db.finish(&one), db.finish(&two));
        assert_eq!(
            [one.is_some(), two.is_some()].iter().filter(|won| **won).count(),
            1
        );
    }
    assert_eq!(db.assistant_messages().await, 20);
    assert_eq!(
        db.database
            .count("SELECT count(*) FROM conversations WHERE last_seq <> 2")
            .await,
        0
    );
}

#[tokio::test]
async fn message_added_while_a_finish_waits_requires_a_recheck() {
    let db = TestDb::new().await;
    let post = db.start_conversation(db.user("Ada").await, "one").await;
    let lease = db.claim(post.run_id).await;
    let late = next_post(&post, "two");
    let mut posting = db.pool().begin().await.unwrap();
    assert_eq!(
        posts::store_batch(&mut *posting, std::slice::from_ref(&late), 0)
            .await
            .unwrap(),
        [PostOutcome::Stored]
    );
    let finish = reply_to(&lease, "One.");
    let (finished, ()) = tokio::join!(db.finish(&finish), async {
        wait_for_blocked_session(&db).await;
        posting.commit().await.unwrap();
    });
    let finished = finished.unwrap();
    assert!(finished.recheck_queue);
    assert_eq!(
        finished.next, None,
        "the snapshot of the finish is older than the message"
    );
    let next = finish::next_queued(db.pool(), finished.user_id, finished.conversation_id)
        .await
        .unwrap();
    assert_eq!(next, Some(late.run_id));
    let order = db
        .database
        .texts("SELECT content FROM messages ORDER BY seq")
        .await;
    assert_eq!(order, ["one", "two", "One."]);

    // Without such a race, the finish returns the next run.
    let third = db.continue_conversation(&post, "three").await;
    let lease = db.claim(late.run_id).await;
    let finished = db.finish(&reply_to(&lease, "Two.")).await.unwrap();
    assert!(!finished.recheck_queue);
    assert_eq!(finished.next, Some(third.run_id));
}

#[tokio::test]
async fn post_that_waits_for_a_finish_is_numbered_after_it() {
    let db = TestDb::new().await;
    let post = db.start_conversation(db.user("Ada").await, "one").await;
    let lease = db.claim(post.run_id).await;
    let mut finishing = db.pool().begin().await.unwrap();
    finish::finish_batch(&mut *finishing, &[reply_to(&lease, "One.")])
        .await
        .unwrap();
    let late = next_post(&post, "two");
    tokio::join!(db.post(&late), async {
        wait_for_blocked_session(&db).await;
        finishing.commit().await.unwrap();
    });
    let order = db
        .database
        .texts("SELECT content FROM messages ORDER BY seq")
        .await;
    assert_eq!(order, ["one", "One.", "two"]);
    assert_eq!(db.claim(late.run_id).await.history.len(), 1);
}

#[tokio::test]
async fn finish_includes_usage_and_tool_results_of_all_attempts() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let post = db.start_conversation(ada, "hi").await;
    for number in 0..2 {
        let lease = db.claim(post.run_id).await;
        let mut connection = db.pool().acquire().await.unwrap();
        let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, ada)
            .await
            .unwrap();
        let call = RecordedCall {
            tool_call_id: format!("call {number}"),
            tool_name: "list_tasks".to_owned(),
            arguments: json!({}),
            result: json!({"success": true}),
            success: true,
        };
        steps::record(
            &mut transaction,
            lease.run_id,
            lease.token,
            &step(number, 100, 10),
            &[call],
        )
        .await
        .unwrap();
        transaction.commit().await.unwrap();
        errand_shared::storage::queue::claims::release(db.pool(), lease.run_id, lease.token, None, 0.0)
            .await
            .unwrap();
    }
    let lease = db.claim(post.run_id).await;
    let mut finish = reply_to(&lease, "Done.");
    finish.last_step = Some(step(2, 1000, 1));
    let finished = db.finish(&finish).await.unwrap();
    assert_eq!(
        (finished.usage.prompt_tokens, finished.usage.completion_tokens),
        (1200, 21)
    );
    assert_eq!(finished.usage.total_tokens, 1221);
    let response = runs::response(db.pool(), ada, post.run_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response.usage, finished.usage);
    assert_eq!(response.tool_calls.len(), 2);
    let stored = db
        .database
        .texts("SELECT concat(prompt_tokens, ' ', completion_tokens, ' ', model) FROM runs")
        .await;
    assert_eq!(stored, ["1200 21 model 2"]);
    let roles = db
        .database
        .texts("SELECT concat(seq, ' ', role, ' ', tool_call_id) FROM messages ORDER BY seq")
        .await;
    assert_eq!(
        roles,
        ["1 user ", "2 tool call 0", "3 tool call 1", "4 assistant "]
    );
}

#[tokio::test]
async fn batch_finishes_only_runs_with_valid_leases() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let mut batch = Vec::new();
    for number in 0..4 {
        let lease = db.claim(db.start_conversation(ada, "hi").await.run_id).await;
        batch.push(reply_to(&lease, &format!("reply {number}")));
    }
    batch[1].token = Some(errand_shared::Uuid::now_v7());
    batch[2].ending = Ending::Failed {
        reason: "a reason".to_owned(),
        error: "an error".to_owned(),
    };
    batch[3].last_step = Some(step(0, 7, 8));
    let finished = finish::finish_batch(db.pool(), &batch).await.unwrap();
    assert_eq!(finished.len(), 3);
    let states =
        "SELECT concat_ws(' ', status, failure_reason, last_error, prompt_tokens) FROM runs ORDER BY id";
    let expected = [
        "succeeded 0",
        "running 0",
        "failed a reason an error 0",
        "succeeded 7",
    ];
    assert_eq!(db.database.texts(states).await, expected);
}

#[tokio::test]
async fn concurrent_finishes_and_posts_do_not_deadlock() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let mut conversations = Vec::new();
    for _ in 0..6 {
        conversations.push(db.start_conversation(ada, "first").await);
    }
    let writers: Vec<_> = (0..8)
        .map(|writer: usize| {
            let pool = db.pool().clone();
            let mut conversations = conversations.clone();
            conversations.rotate_left(writer % 6);
            if writer.is_multiple_of(2) {
                conversations.reverse();
            }
            async move {
                for _ in 0..6 {
                    let posts: Vec<_> = conversations.iter().map(|post| next_post(post, "more")).collect();
                    posts::store_batch(&pool, &posts, 0).await.unwrap();
                    let ready = crate::test_db::ready(&pool, 10).await;
                    let worker = errand_shared::Uuid::now_v7();
                    let leases = errand_shared::storage::queue::claims::claim(
                        &pool,
                        worker,
                        &ready,
                        crate::test_db::NO_LIMITS,
                    )
                    .await
                    .unwrap();
                    let mut batch: Vec<_> = leases.iter().map(|lease| reply_to(lease, "ok")).collect();
                    batch.reverse();
                    assert_eq!(
                        finish::finish_batch(&pool, &batch).await.unwrap().len(),
                        batch.len()
                    );
                }
            }
        })
        .collect();
    tokio::time::timeout(Duration::from_secs(30), join_all(writers))
        .await
        .unwrap();
    let gaps = "SELECT count(*) FROM conversations c WHERE c.last_seq <> (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id)";
    assert_eq!(db.database.count(gaps).await, 0);
    assert_eq!(
        db.database
            .count("SELECT count(*) FROM messages WHERE role = 'user'")
            .await,
        6 + 8 * 6 * 6
    );
}

#[tokio::test]
async fn finish_without_a_lease_requires_an_unchanged_epoch() {
    let db = TestDb::new().await;
    let post = db.start_conversation(db.user("Ada").await, "hi").await;
    let cancel = |epoch: i64| Finish {
        run_id: post.run_id,
        token: None,
        final_event_seq: (epoch << 20) | 1,
        ending: Ending::Cancelled,
        last_step: None,
    };
    assert!(
        db.finish(&cancel(0)).await.is_none(),
        "the epoch of the event must be higher than the run's"
    );
    let queued = "SELECT count(*) FROM runs WHERE status = 'queued'";
    assert_eq!(db.database.count(queued).await, 1);
    let finished = db.finish(&cancel(1)).await.unwrap();
    assert_eq!(finished.status, RunStatus::Cancelled);
}
