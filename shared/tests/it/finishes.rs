//! The end of a run: once, whole, and followed by the next.

use std::time::Duration;

use errand_shared::{
    domain::run::RunStatus,
    storage::{
        journal::steps::{self, CallRecord},
        queue::posts::{self, PostOutcome},
        runs::{
            self,
            finish::{self, Ending, Finish},
        },
    },
};
use futures::future::join_all;
use serde_json::json;

use crate::book::{Book, following, reply_to, somebody_waits, step};

#[tokio::test]
async fn a_run_that_is_to_be_cancelled_ends_as_cancelled_without_a_reply() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let post = book.begin(ada, "hi").await;
    let lease = book.claim(post.run_id).await;
    runs::request_cancel(book.pool(), ada, post.run_id)
        .await
        .unwrap()
        .unwrap();
    let finished = book.finish(&reply_to(&lease, "Hello!")).await.unwrap();
    assert_eq!(finished.status, RunStatus::Cancelled);
    assert_eq!(book.assistant_messages().await, 0);
    let failed = book.go_on(&post, "again").await;
    let lease = book.claim(failed.run_id).await;
    runs::request_cancel(book.pool(), ada, failed.run_id)
        .await
        .unwrap()
        .unwrap();
    let mut finish = reply_to(&lease, "");
    finish.ending = Ending::Failed {
        reason: "r".to_owned(),
        error: "e".to_owned(),
    };
    assert_eq!(
        book.finish(&finish).await.unwrap().status,
        RunStatus::Cancelled,
        "a failure is no answer to a cancel"
    );
}

#[tokio::test]
async fn two_finishes_of_one_run_write_one_reply() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    for _ in 0..20 {
        let lease = book.claim(book.begin(ada, "hi").await.run_id).await;
        let (one, two) = (reply_to(&lease, "one"), reply_to(&lease, "two"));
        let (one, two) = tokio::join!(book.finish(&one), book.finish(&two));
        assert_eq!(
            [one.is_some(), two.is_some()].iter().filter(|won| **won).count(),
            1
        );
    }
    assert_eq!(book.assistant_messages().await, 20);
    assert_eq!(
        book.database
            .count("SELECT count(*) FROM conversations WHERE last_seq <> 2")
            .await,
        0
    );
}

#[tokio::test]
async fn a_message_that_comes_while_the_finish_waits_asks_for_another_look() {
    let book = Book::new().await;
    let post = book.begin(book.user("Ada").await, "one").await;
    let lease = book.claim(post.run_id).await;
    let late = following(&post, "two");
    let mut posting = book.pool().begin().await.unwrap();
    assert_eq!(
        posts::store(&mut *posting, std::slice::from_ref(&late), 0)
            .await
            .unwrap(),
        [PostOutcome::Stored]
    );
    let finish = reply_to(&lease, "One.");
    let (finished, ()) = tokio::join!(book.finish(&finish), async {
        somebody_waits(&book).await;
        posting.commit().await.unwrap();
    });
    let finished = finished.unwrap();
    assert!(finished.look_again);
    assert_eq!(finished.next, None, "its snapshot is older than the message");
    let next = finish::next_queued(book.pool(), finished.user_id, finished.conversation_id)
        .await
        .unwrap();
    assert_eq!(next, Some(late.run_id));
    let order = book
        .database
        .texts("SELECT content FROM messages ORDER BY seq")
        .await;
    assert_eq!(order, ["one", "two", "One."]);

    // Without such a race the finish itself tells.
    let third = book.go_on(&post, "three").await;
    let lease = book.claim(late.run_id).await;
    let finished = book.finish(&reply_to(&lease, "Two.")).await.unwrap();
    assert!(!finished.look_again);
    assert_eq!(finished.next, Some(third.run_id));
}

#[tokio::test]
async fn a_post_that_waits_for_a_finish_comes_after_it() {
    let book = Book::new().await;
    let post = book.begin(book.user("Ada").await, "one").await;
    let lease = book.claim(post.run_id).await;
    let mut finishing = book.pool().begin().await.unwrap();
    finish::finish(&mut *finishing, &[reply_to(&lease, "One.")])
        .await
        .unwrap();
    let late = following(&post, "two");
    tokio::join!(book.post(&late), async {
        somebody_waits(&book).await;
        finishing.commit().await.unwrap();
    });
    let order = book
        .database
        .texts("SELECT content FROM messages ORDER BY seq")
        .await;
    assert_eq!(order, ["one", "One.", "two"]);
    assert_eq!(book.claim(late.run_id).await.history.len(), 1);
}

#[tokio::test]
async fn usage_and_tool_results_of_all_attempts_add_up() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let post = book.begin(ada, "hi").await;
    for number in 0..2 {
        let lease = book.claim(post.run_id).await;
        let mut connection = book.pool().acquire().await.unwrap();
        let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, ada)
            .await
            .unwrap();
        let call = CallRecord {
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
        errand_shared::storage::queue::claims::release(book.pool(), lease.run_id, lease.token, None, 0.0)
            .await
            .unwrap();
    }
    let lease = book.claim(post.run_id).await;
    let mut finish = reply_to(&lease, "Done.");
    finish.last_step = Some(step(2, 1000, 1));
    let finished = book.finish(&finish).await.unwrap();
    assert_eq!(
        (finished.usage.prompt_tokens, finished.usage.completion_tokens),
        (1200, 21)
    );
    assert_eq!(finished.usage.total_tokens, 1221);
    let response = runs::response(book.pool(), ada, post.run_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(response.usage, finished.usage);
    assert_eq!(response.tool_calls.len(), 2);
    let stored = book
        .database
        .texts("SELECT concat(prompt_tokens, ' ', completion_tokens, ' ', model) FROM runs")
        .await;
    assert_eq!(stored, ["1200 21 model 2"]);
    let roles = book
        .database
        .texts("SELECT concat(seq, ' ', role, ' ', tool_call_id) FROM messages ORDER BY seq")
        .await;
    assert_eq!(
        roles,
        ["1 user ", "2 tool call 0", "3 tool call 1", "4 assistant "]
    );
}

#[tokio::test]
async fn a_batch_of_finishes_ends_those_whose_lease_holds() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let mut batch = Vec::new();
    for number in 0..4 {
        let lease = book.claim(book.begin(ada, "hi").await.run_id).await;
        batch.push(reply_to(&lease, &format!("reply {number}")));
    }
    batch[1].token = Some(errand_shared::Uuid::now_v7());
    batch[2].ending = Ending::Failed {
        reason: "a reason".to_owned(),
        error: "an error".to_owned(),
    };
    batch[3].last_step = Some(step(0, 7, 8));
    let finished = finish::finish(book.pool(), &batch).await.unwrap();
    assert_eq!(finished.len(), 3);
    let told =
        "SELECT concat_ws(' ', status, failure_reason, last_error, prompt_tokens) FROM runs ORDER BY id";
    let expected = [
        "succeeded 0",
        "running 0",
        "failed a reason an error 0",
        "succeeded 7",
    ];
    assert_eq!(book.database.texts(told).await, expected);
}

#[tokio::test]
async fn finishes_and_posts_of_the_same_conversations_never_deadlock() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let mut conversations = Vec::new();
    for _ in 0..6 {
        conversations.push(book.begin(ada, "first").await);
    }
    let writers: Vec<_> = (0..8)
        .map(|writer: usize| {
            let pool = book.pool().clone();
            let mut conversations = conversations.clone();
            conversations.rotate_left(writer % 6);
            if writer.is_multiple_of(2) {
                conversations.reverse();
            }
            async move {
                for _ in 0..6 {
                    let posts: Vec<_> = conversations.iter().map(|post| following(post, "more")).collect();
                    posts::store(&pool, &posts, 0).await.unwrap();
                    let ready = crate::book::ready(&pool, 10).await;
                    let worker = errand_shared::Uuid::now_v7();
                    let leases = errand_shared::storage::queue::claims::claim(
                        &pool,
                        worker,
                        &ready,
                        crate::book::WIDE,
                    )
                    .await
                    .unwrap();
                    let mut batch: Vec<_> = leases.iter().map(|lease| reply_to(lease, "ok")).collect();
                    batch.reverse();
                    assert_eq!(finish::finish(&pool, &batch).await.unwrap().len(), batch.len());
                }
            }
        })
        .collect();
    tokio::time::timeout(Duration::from_secs(30), join_all(writers))
        .await
        .unwrap();
    let gaps = "SELECT count(*) FROM conversations c WHERE c.last_seq <> (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id)";
    assert_eq!(book.database.count(gaps).await, 0);
    assert_eq!(
        book.database
            .count("SELECT count(*) FROM messages WHERE role = 'user'")
            .await,
        6 + 8 * 6 * 6
    );
}

#[tokio::test]
async fn an_end_without_a_lease_stands_back_for_a_run_that_has_changed_hands() {
    let book = Book::new().await;
    let post = book.begin(book.user("Ada").await, "hi").await;
    let cancel = |epoch: i64| Finish {
        run_id: post.run_id,
        token: None,
        final_event_seq: (epoch << 20) | 1,
        ending: Ending::Cancelled,
        last_step: None,
    };
    assert!(book.finish(&cancel(0)).await.is_none(), "the run's own epoch");
    let queued = "SELECT count(*) FROM runs WHERE status = 'queued'";
    assert_eq!(book.database.count(queued).await, 1);
    let finished = book.finish(&cancel(1)).await.unwrap();
    assert_eq!(finished.status, RunStatus::Cancelled);
}
