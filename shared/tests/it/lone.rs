//! What comes by itself has statements of its own: they leave the rows and give the answers that the large ones do.

use errand_shared::{
    Uuid,
    storage::{
        journal::steps::{self, CallRecord},
        queue::posts::{self, Origin, Post, PostOutcome},
        runs::finish::{self, Finish, Finished},
    },
};
use serde_json::json;

use crate::book::{Book, following, opening, reply_to, somebody_waits, step};

#[derive(Clone, Copy, Debug)]
enum Way {
    Large,
    Quick,
}

impl Way {
    async fn post(self, book: &Book, post: &Post, max_open: i64) -> PostOutcome {
        let posts = std::slice::from_ref(post);
        let stored = match self {
            Self::Large => posts::store(book.pool(), posts, max_open).await,
            Self::Quick => posts::store_quickly(book.pool(), posts, max_open).await,
        };
        stored.unwrap()[0]
    }

    async fn finish(self, book: &Book, finish: &Finish) -> Option<Finished> {
        let one = std::slice::from_ref(finish);
        let finished = match self {
            Self::Large => finish::finish(book.pool(), one).await,
            Self::Quick => finish::finish_quickly(book.pool(), one).await,
        };
        finished.unwrap().pop()
    }
}

/// All that a conversation has, but for ids and times.
async fn rows(book: &Book, conversation_id: Uuid) -> Vec<String> {
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
        rows.extend(book.database.texts(&select).await);
    }
    rows
}

/// A run with a journalled step, ready to end with what its second step says.
async fn ready_to_end(book: &Book, way: Way, user_id: Uuid) -> (Post, Finish) {
    let post = opening(user_id, "add milk");
    assert_eq!(way.post(book, &post, 0).await, PostOutcome::Stored);
    let lease = book.claim(post.run_id).await;
    let mut connection = book.pool().acquire().await.unwrap();
    let mut transaction = steps::begin_unlocked(&mut connection).await.unwrap();
    let calls = ["milk", "bread"].map(|title| CallRecord {
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
async fn a_post_by_itself_leaves_the_rows_that_one_of_many_does() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let mut left = Vec::new();
    for way in [Way::Large, Way::Quick] {
        let first = Post {
            agent: Some("gardener".to_owned()),
            origin: Origin {
                request_id: Some("request".to_owned()),
                traceparent: Some("trace".to_owned()),
            },
            ..opening(ada, "one")
        };
        assert_eq!(way.post(&book, &first, 0).await, PostOutcome::Stored);
        let next = Post {
            origin: first.origin.clone(),
            ..following(&first, "two")
        };
        assert_eq!(way.post(&book, &next, 0).await, PostOutcome::Stored);
        left.push(rows(&book, first.conversation_id).await);
    }
    assert_eq!(left[0].len(), 5, "{left:?}");
    assert_eq!(left[0], left[1]);
}

#[tokio::test]
async fn a_post_by_itself_is_refused_for_the_same_reasons() {
    let book = Book::new().await;
    let (ada, eve) = (book.user("Ada").await, book.user("Eve").await);
    let hers = book.begin(ada, "hers").await;
    let foreign = Post {
        user_id: eve,
        ..following(&hers, "not yours")
    };
    let unknown = Post {
        conversation_id: Uuid::now_v7(),
        ..following(&hers, "nowhere")
    };
    for way in [Way::Large, Way::Quick] {
        assert_eq!(
            way.post(&book, &foreign, 0).await,
            PostOutcome::NoConversation,
            "{way:?}"
        );
        assert_eq!(
            way.post(&book, &unknown, 0).await,
            PostOutcome::NoConversation,
            "{way:?}"
        );
        let (more, other) = (following(&hers, "more"), opening(ada, "other"));
        assert_eq!(
            way.post(&book, &more, 1).await,
            PostOutcome::TooManyOpen,
            "{way:?}"
        );
        assert_eq!(
            way.post(&book, &other, 1).await,
            PostOutcome::TooManyOpen,
            "{way:?}"
        );
    }
    assert_eq!(book.database.count("SELECT count(*) FROM messages").await, 1);
    assert_eq!(
        Way::Quick.post(&book, &opening(ada, "second"), 2).await,
        PostOutcome::Stored
    );
}

#[tokio::test]
async fn an_end_by_itself_leaves_the_rows_that_one_of_many_does_and_tells_the_same() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let mut left = Vec::new();
    let mut told = Vec::new();
    for way in [Way::Large, Way::Quick] {
        let (post, finish) = ready_to_end(&book, way, ada).await;
        let next = book.go_on(&post, "and bread").await;
        let finished = way.finish(&book, &finish).await.unwrap();
        assert_eq!(finished.run_id, post.run_id);
        assert_eq!(finished.conversation_id, post.conversation_id);
        assert_eq!(finished.next, Some(next.run_id));
        left.push(rows(&book, post.conversation_id).await);
        told.push((
            finished.status,
            finished.user_id,
            finished.usage,
            finished.attempt,
            finished.final_event_seq,
            finished.look_again,
        ));
    }
    assert_eq!(left[0].len(), 8, "{left:?}");
    assert_eq!(left[0], left[1]);
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn an_end_by_itself_stands_back_for_a_cancel_a_lost_lease_and_a_lost_step() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let (cancelled, finish) = ready_to_end(&book, Way::Quick, ada).await;
    let cancel = format!(
        "UPDATE runs SET cancel_requested_at = now() WHERE id = '{}'",
        cancelled.run_id
    );
    book.database.execute(&cancel).await.unwrap();
    let finished = Way::Quick.finish(&book, &finish).await.unwrap();
    assert_eq!(finished.status.as_str(), "cancelled");

    let (lost, finish) = ready_to_end(&book, Way::Quick, ada).await;
    let stranger = Finish {
        token: Some(Uuid::now_v7()),
        ..finish.clone()
    };
    let gap = Finish {
        last_step: Some(step(2, 1, 1)),
        ..finish
    };
    let before = rows(&book, lost.conversation_id).await;
    assert!(Way::Quick.finish(&book, &stranger).await.is_none());
    assert!(Way::Quick.finish(&book, &gap).await.is_none());
    assert_eq!(rows(&book, lost.conversation_id).await, before);
    assert_eq!(book.assistant_messages().await, 0);
}

#[tokio::test]
async fn an_end_by_itself_says_to_look_again_if_a_message_came_while_it_waited() {
    let book = Book::new().await;
    let (post, finish) = ready_to_end(&book, Way::Quick, book.user("Ada").await).await;
    let late = following(&post, "late");
    let mut posting = book.pool().begin().await.unwrap();
    posts::store(&mut *posting, std::slice::from_ref(&late), 0)
        .await
        .unwrap();
    let (finished, ()) = tokio::join!(Way::Quick.finish(&book, &finish), async {
        somebody_waits(&book).await;
        posting.commit().await.unwrap();
    });
    let finished = finished.unwrap();
    assert!(finished.look_again);
    assert_eq!(finished.next, None, "its snapshot is older than the message");
}
