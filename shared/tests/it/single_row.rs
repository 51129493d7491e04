//! The statements for a single post and a single finish write the same rows and return the same outcomes as those for batches.

use errand_shared::{
    Uuid,
    storage::{
        journal::steps::{self, RecordedCall},
        queue::posts::{self, Origin, Post, PostOutcome},
        runs::finish::{self, Finish, Finished},
    },
};
use serde_json::json;

use crate::test_db::{TestDb, first_post, next_post, reply_to, step, wait_for_blocked_session};

#[derive(Clone, Copy, Debug)]
enum Way {
    Batch,
    Single,
}

impl Way {
    async fn post(self, db: &TestDb, post: &Post, max_open: i64) -> PostOutcome {
        let posts = std::slice::from_ref(post);
        let stored = match self {
            Self::Batch => posts::store_batch(db.pool(), posts, max_open).await,
            Self::Single => posts::store(db.pool(), posts, max_open).await,
        };
        stored.unwrap()[0]
    }

    async fn finish(self, db: &TestDb, finish: &Finish) -> Option<Finished> {
        let one = std::slice::from_ref(finish);
        let finished = match self {
            Self::Batch => finish::finish_batch(db.pool(), one).await,
            Self::Single => finish::finish(db.pool(), one).await,
        };
        finished.unwrap().pop()
    }
}

/// All rows of a conversation, without ids and times.
async fn rows(db: &TestDb, conversation_id: Uuid) -> Vec<String> {
    let mut rows = Vec::new();
    for (table, key) in [
        ("conversations", "id"),
        ("runs", "conversation_id"),
        ("messages", "conversation_id"),
    ] {
        let select = format!(
            "SELECT (to_jsonb(t) - '{{id,user_id,conversation_id,run_id,worker_id,created_at,updated_at,queued_at,\
             available_at,ring_at,first_claimed_at,claimed_at,deadline_at,finished_at}}'::text[])::text FROM {table} t \
             WHERE {key} = '{conversation_id}' ORDER BY to_jsonb(t) -> 'seq'"
        );
        rows.extend(db.database.texts(&select).await);
    }
    rows
}

/// Given a run with one recorded step, returns the finish with its second step.
async fn ready_to_finish(db: &TestDb, way: Way, user_id: Uuid) -> (Post, Finish) {
    let post = first_post(user_id, "add milk");
    assert_eq!(way.post(db, &post, 0).await, PostOutcome::Stored);
    let lease = db.claim(post.run_id).await;
    let mut connection = db.pool().acquire().await.unwrap();
    let mut transaction = steps::begin_unlocked(&mut connection).await.unwrap();
    let calls = ["milk", "bread"].map(|title| RecordedCall {
        tool_call_id: format!("call {title}"),
        tool_name: "add_task".to_owned(),
        arguments: json!({"title": title}),
        result: json!({"success": true, "title": title}),
        success: true,
    });
    steps::record(
        &mut transaction,
        lease.run_id,
        lease.token,
        &step(0, 100, 10),
        &calls,
    )
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    let finish = Finish {
        last_step: Some(step(1, 1000, 1)),
        ..reply_to(&lease, "Added.")
    };
    (post, finish)
}

#[tokio::test]
async fn single_post_writes_the_same_rows_as_a_batch() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let mut stored = Vec::new();
    for way in [Way::Batch, Way::Single] {
        let first = Post {
            agent: Some("gardener".to_owned()),
            origin: Origin {
                request_id: Some("request".to_owned()),
                traceparent: Some("trace".to_owned()),
            },
            ..first_post(ada, "one")
        };
        assert_eq!(way.post(&db, &first, 0).await, PostOutcome::Stored);
        let next = Post {
            origin: first.origin.clone(),
            ..next_post(&first, "two")
        };
        assert_eq!(way.post(&db, &next, 0).await, PostOutcome::Stored);
        stored.push(rows(&db, first.conversation_id).await);
    }
    assert_eq!(stored[0].len(), 5, "{stored:?}");
    assert_eq!(stored[0], stored[1]);
}

#[tokio::test]
async fn single_post_is_rejected_for_the_same_reasons() {
    let db = TestDb::new().await;
    let (ada, eve) = (db.user("Ada").await, db.user("Eve").await);
    let hers = db.start_conversation(ada, "hers").await;
    let foreign = Post {
        user_id: eve,
        ..next_post(&hers, "not yours")
    };
    let unknown = Post {
        conversation_id: Uuid::now_v7(),
        ..next_post(&hers, "nowhere")
    };
    for way in [Way::Batch, Way::Single] {
        assert_eq!(
            way.post(&db, &foreign, 0).await,
            PostOutcome::ConversationNotFound,
            "{way:?}"
        );
        assert_eq!(
            way.post(&db, &unknown, 0).await,
            PostOutcome::ConversationNotFound,
            "{way:?}"
        );
        let (more, other) = (next_post(&hers, "more"), first_post(ada, "other"));
        assert_eq!(
            way.post(&db, &more, 1).await,
            PostOutcome::TooManyOpenRuns,
            "{way:?}"
        );
        assert_eq!(
            way.post(&db, &other, 1).await,
            PostOutcome::TooManyOpenRuns,
            "{way:?}"
        );
    }
    assert_eq!(db.database.count("SELECT count(*) FROM messages").await, 1);
    assert_eq!(
        Way::Single.post(&db, &first_post(ada, "second"), 2).await,
        PostOutcome::Stored
    );
}

#[tokio::test]
async fn single_finish_writes_and_returns_the_same_as_a_batch() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let mut stored = Vec::new();
    let mut returned = Vec::new();
    for way in [Way::Batch, Way::Single] {
        let (post, finish) = ready_to_finish(&db, way, ada).await;
        let next = db.continue_conversation(&post, "and bread").await;
        let finished = way.finish(&db, &finish).await.unwrap();
        assert_eq!(finished.run_id, post.run_id);
        assert_eq!(finished.conversation_id, post.conversation_id);
        assert_eq!(finished.next, Some(next.run_id));
        stored.push(rows(&db, post.conversation_id).await);
        returned.push((
            finished.status,
            finished.user_id,
            finished.usage,
            finished.attempt,
            finished.final_event_seq,
            finished.recheck_queue,
        ));
    }
    assert_eq!(stored[0].len(), 8, "{stored:?}");
    assert_eq!(stored[0], stored[1]);
    assert_eq!(returned[0], returned[1]);
}

#[tokio::test]
async fn single_finish_respects_cancellation_lost_lease_and_lost_step() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let (cancelled, finish) = ready_to_finish(&db, Way::Single, ada).await;
    let cancel = format!(
        "UPDATE runs SET cancel_requested_at = now() WHERE id = '{}'",
        cancelled.run_id
    );
    db.database.execute(&cancel).await.unwrap();
    let finished = Way::Single.finish(&db, &finish).await.unwrap();
    assert_eq!(finished.status.as_str(), "cancelled");

    let (lost, finish) = ready_to_finish(&db, Way::Single, ada).await;
    let stranger = Finish {
        token: Some(Uuid::now_v7()),
        ..finish.clone()
    };
    let gap = Finish {
        last_step: Some(step(2, 1, 1)),
        ..finish
    };
    let before = rows(&db, lost.conversation_id).await;
    assert!(Way::Single.finish(&db, &stranger).await.is_none());
    assert!(Way::Single.finish(&db, &gap).await.is_none());
    assert_eq!(rows(&db, lost.conversation_id).await, before);
    assert_eq!(db.assistant_messages().await, 0);
}

#[tokio::test]
async fn single_finish_requires_a_recheck_after_a_concurrent_message() {
    let db = TestDb::new().await;
    let (post, finish) = ready_to_finish(&db, Way::Single, db.user("Ada").await).await;
    let late = next_post(&post, "late");
    let mut posting = db.pool().begin().await.unwrap();
    posts::store_batch(&mut *posting, std::slice::from_ref(&late), 0)
        .await
        .unwrap();
    let (finished, ()) = tokio::join!(Way::Single.finish(&db, &finish), async {
        wait_for_blocked_session(&db).await;
        posting.commit().await.unwrap();
    });
    let finished = finished.unwrap();
    assert!(finished.recheck_queue);
    assert_eq!(
        finished.next, None,
        "the snapshot of the finish is older than the message"
    );
}
