//! Posts: numbered without gaps, stored completely or not at all, and limited per user.

use errand_shared::{
    Uuid,
    storage::queue::posts::{self, Post, PostOutcome},
};

use futures::future::join_all;

use crate::test_db::{TestDb, first_post, next_post, wait_for_blocked_session};

#[tokio::test]
async fn batch_to_one_conversation_is_numbered_in_input_order() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let (first, other) = (first_post(ada, "0"), first_post(ada, "other 0"));
    let batch = [
        first.clone(),
        other.clone(),
        next_post(&first, "1"),
        next_post(&other, "other 1"),
        next_post(&first, "2"),
    ];
    // A conversation must exist before a batch can add to it.
    let outcomes = posts::store_batch(db.pool(), &batch[..2], 0).await.unwrap();
    assert_eq!(outcomes, [PostOutcome::Stored, PostOutcome::Stored]);
    let outcomes = posts::store_batch(db.pool(), &batch[2..], 0).await.unwrap();
    assert_eq!(outcomes, [PostOutcome::Stored; 3]);
    for (post, expected) in [
        (&first, vec!["1 0", "2 1", "3 2"]),
        (&other, vec!["1 other 0", "2 other 1"]),
    ] {
        let stored = format!(
            "SELECT concat(m.seq, ' ', m.content) FROM messages m JOIN runs r ON r.id = m.run_id AND r.seq = m.seq \
             WHERE m.conversation_id = '{}' ORDER BY m.seq",
            post.conversation_id
        );
        assert_eq!(db.database.texts(&stored).await, expected);
    }
}

#[tokio::test]
async fn concurrent_posts_to_one_conversation_are_numbered_without_gaps() {
    let db = TestDb::new().await;
    let first = db.start_conversation(db.user("Ada").await, "first").await;
    let posters: Vec<_> = (0..20)
        .map(|poster| {
            let (pool, first) = (db.pool().clone(), first.clone());
            async move {
                for size in [1, 3, 2] {
                    let batch: Vec<_> = (0..size)
                        .map(|nth| Post {
                            key: (poster % 2 == 0).then(|| (format!("{poster} {size} {nth}"), [7; 32])),
                            ..next_post(&first, "more")
                        })
                        .collect();
                    assert_eq!(
                        posts::store_batch(&pool, &batch, 0).await.unwrap(),
                        vec![PostOutcome::Stored; size]
                    );
                }
            }
        })
        .collect();
    join_all(posters).await;
    let numbers =
        "SELECT concat(count(*), ' ', count(DISTINCT seq), ' ', min(seq), ' ', max(seq)) FROM messages";
    assert_eq!(db.database.texts(numbers).await, ["121 121 1 121"]);
    assert_eq!(db.database.count("SELECT last_seq FROM conversations").await, 121);
}

#[tokio::test]
async fn rejected_post_does_not_affect_the_rest_of_its_batch() {
    let db = TestDb::new().await;
    let (ada, eve) = (db.user("Ada").await, db.user("Eve").await);
    let hers = db.start_conversation(ada, "hers").await;
    let mut unknown = next_post(&hers, "nowhere");
    unknown.conversation_id = Uuid::now_v7();
    let mut foreign = next_post(&hers, "not yours");
    foreign.user_id = eve;
    let batch = [
        next_post(&hers, "a"),
        unknown,
        foreign,
        next_post(&hers, "b"),
        first_post(eve, "c"),
    ];
    let outcomes = posts::store_batch(db.pool(), &batch, 0).await.unwrap();
    let expected = [
        PostOutcome::Stored,
        PostOutcome::ConversationNotFound,
        PostOutcome::ConversationNotFound,
        PostOutcome::Stored,
        PostOutcome::Stored,
    ];
    assert_eq!(outcomes, expected);
    let stored = db
        .database
        .texts("SELECT concat(seq, ' ', content) FROM messages ORDER BY content")
        .await;
    assert_eq!(stored, ["2 a", "3 b", "1 c", "1 hers"]);
    assert_eq!(db.database.count("SELECT count(*) FROM runs").await, 4);
}

#[tokio::test]
async fn open_runs_are_limited_per_user_also_within_a_batch() {
    let db = TestDb::new().await;
    let (ada, eve) = (db.user("Ada").await, db.user("Eve").await);
    let open = db.start_conversation(ada, "open").await;
    let batch: Vec<_> = [ada, ada, eve, ada, eve, ada, eve, eve]
        .map(|user| first_post(user, "hi"))
        .into();
    let outcomes = posts::store_batch(db.pool(), &batch, 3).await.unwrap();
    let (yes, no) = (PostOutcome::Stored, PostOutcome::TooManyOpenRuns);
    assert_eq!(outcomes, [yes, yes, yes, no, yes, no, yes, no]);
    assert_eq!(
        posts::store_batch(db.pool(), &[first_post(ada, "one more")], 3)
            .await
            .unwrap(),
        [no]
    );
    db.answer(&open, "Done.").await;
    assert_eq!(
        posts::store_batch(db.pool(), &[first_post(ada, "one more")], 3)
            .await
            .unwrap(),
        [yes]
    );
    assert_eq!(
        posts::store_batch(db.pool(), &[first_post(ada, "no bound")], 0)
            .await
            .unwrap(),
        [yes]
    );
}

#[tokio::test]
async fn concurrent_posts_with_one_key_store_one_post() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let keyed = |key: &str| {
        let mut post = first_post(ada, "hi");
        post.key = Some((key.to_owned(), [7; 32]));
        post
    };
    let batch = [keyed("a"), keyed("a"), keyed("b")];
    let outcomes = posts::store_batch(db.pool(), &batch, 0).await.unwrap();
    assert_eq!(
        outcomes,
        [
            PostOutcome::Stored,
            PostOutcome::KeyAlreadyUsed,
            PostOutcome::Stored
        ]
    );
    let racers: Vec<_> = (0..20)
        .map(|_| {
            let (pool, post) = (db.pool().clone(), keyed("raced"));
            async move { posts::store_batch(&pool, &[post], 0).await.unwrap()[0] }
        })
        .collect();
    let outcomes = join_all(racers).await;
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == PostOutcome::Stored)
            .count(),
        1
    );
    assert_eq!(db.database.count("SELECT count(*) FROM runs").await, 3);
}

#[tokio::test]
async fn strict_post_is_retried_if_the_conversation_changed_meanwhile() {
    let db = TestDb::new().await;
    let first = db.start_conversation(db.user("Ada").await, "first").await;
    db.answer(&first, "done").await;
    let other = next_post(&first, "other");
    let mut posting = db.pool().begin().await.unwrap();
    posts::store_batch(&mut *posting, std::slice::from_ref(&other), 0)
        .await
        .unwrap();
    let strict = [Post {
        reject_if_running: true,
        ..next_post(&first, "strict")
    }];
    let (outcomes, ()) = tokio::join!(posts::store_batch(db.pool(), &strict, 0), async {
        wait_for_blocked_session(&db).await;
        posting.commit().await.unwrap();
    });
    assert_eq!(outcomes.unwrap(), [PostOutcome::ConversationChanged]);
    let outcomes = posts::store_batch(db.pool(), &strict, 0).await.unwrap();
    assert_eq!(outcomes, [PostOutcome::RunInProgress(other.run_id)]);
    let stored = "SELECT count(*) FROM messages WHERE content = 'strict'";
    assert_eq!(db.database.count(stored).await, 0);
}
