//! Posts: numbered without gaps, stored whole, bounded.

use errand_shared::{
    Uuid,
    storage::queue::posts::{self, Post, PostOutcome},
};

use futures::future::join_all;

use crate::book::{Book, following, opening, somebody_waits};

#[tokio::test]
async fn a_batch_to_one_conversation_is_numbered_in_its_order() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let (first, other) = (opening(ada, "0"), opening(ada, "other 0"));
    let batch = [
        first.clone(),
        other.clone(),
        following(&first, "1"),
        following(&other, "other 1"),
        following(&first, "2"),
    ];
    // A conversation must be there before a batch can go on with it.
    let outcomes = posts::store(book.pool(), &batch[..2], 0).await.unwrap();
    assert_eq!(outcomes, [PostOutcome::Stored, PostOutcome::Stored]);
    let outcomes = posts::store(book.pool(), &batch[2..], 0).await.unwrap();
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
        assert_eq!(book.database.texts(&stored).await, expected);
    }
}

#[tokio::test]
async fn concurrent_posts_to_one_conversation_are_numbered_without_gaps() {
    let book = Book::new().await;
    let first = book.begin(book.user("Ada").await, "first").await;
    let posters: Vec<_> = (0..20)
        .map(|poster| {
            let (pool, first) = (book.pool().clone(), first.clone());
            async move {
                for size in [1, 3, 2] {
                    let batch: Vec<_> = (0..size)
                        .map(|nth| Post {
                            key: (poster % 2 == 0).then(|| (format!("{poster} {size} {nth}"), [7; 32])),
                            ..following(&first, "more")
                        })
                        .collect();
                    assert_eq!(
                        posts::store(&pool, &batch, 0).await.unwrap(),
                        vec![PostOutcome::Stored; size]
                    );
                }
            }
        })
        .collect();
    join_all(posters).await;
    let numbers =
        "SELECT concat(count(*), ' ', count(DISTINCT seq), ' ', min(seq), ' ', max(seq)) FROM messages";
    assert_eq!(book.database.texts(numbers).await, ["121 121 1 121"]);
    assert_eq!(
        book.database.count("SELECT last_seq FROM conversations").await,
        121
    );
}

#[tokio::test]
async fn one_bad_conversation_in_a_batch_hinders_no_other() {
    let book = Book::new().await;
    let (ada, eve) = (book.user("Ada").await, book.user("Eve").await);
    let hers = book.begin(ada, "hers").await;
    let mut unknown = following(&hers, "nowhere");
    unknown.conversation_id = Uuid::now_v7();
    let mut foreign = following(&hers, "not yours");
    foreign.user_id = eve;
    let batch = [
        following(&hers, "a"),
        unknown,
        foreign,
        following(&hers, "b"),
        opening(eve, "c"),
    ];
    let outcomes = posts::store(book.pool(), &batch, 0).await.unwrap();
    let expected = [
        PostOutcome::Stored,
        PostOutcome::NoConversation,
        PostOutcome::NoConversation,
        PostOutcome::Stored,
        PostOutcome::Stored,
    ];
    assert_eq!(outcomes, expected);
    let stored = book
        .database
        .texts("SELECT concat(seq, ' ', content) FROM messages ORDER BY content")
        .await;
    assert_eq!(stored, ["2 a", "3 b", "1 c", "1 hers"]);
    assert_eq!(book.database.count("SELECT count(*) FROM runs").await, 4);
}

#[tokio::test]
async fn open_runs_are_bounded_inside_a_batch_and_by_user() {
    let book = Book::new().await;
    let (ada, eve) = (book.user("Ada").await, book.user("Eve").await);
    let open = book.begin(ada, "open").await;
    let batch: Vec<_> = [ada, ada, eve, ada, eve, ada, eve, eve]
        .map(|user| opening(user, "hi"))
        .into();
    let outcomes = posts::store(book.pool(), &batch, 3).await.unwrap();
    let (yes, no) = (PostOutcome::Stored, PostOutcome::TooManyOpen);
    assert_eq!(outcomes, [yes, yes, yes, no, yes, no, yes, no]);
    assert_eq!(
        posts::store(book.pool(), &[opening(ada, "one more")], 3)
            .await
            .unwrap(),
        [no]
    );
    book.answer(&open, "Done.").await;
    assert_eq!(
        posts::store(book.pool(), &[opening(ada, "one more")], 3)
            .await
            .unwrap(),
        [yes]
    );
    assert_eq!(
        posts::store(book.pool(), &[opening(ada, "no bound")], 0)
            .await
            .unwrap(),
        [yes]
    );
}

#[tokio::test]
async fn one_key_stores_one_post_however_many_come_at_once() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let keyed = |key: &str| {
        let mut post = opening(ada, "hi");
        post.key = Some((key.to_owned(), [7; 32]));
        post
    };
    let batch = [keyed("a"), keyed("a"), keyed("b")];
    let outcomes = posts::store(book.pool(), &batch, 0).await.unwrap();
    assert_eq!(
        outcomes,
        [PostOutcome::Stored, PostOutcome::KeyKnown, PostOutcome::Stored]
    );
    let racers: Vec<_> = (0..20)
        .map(|_| {
            let (pool, post) = (book.pool().clone(), keyed("raced"));
            async move { posts::store(&pool, &[post], 0).await.unwrap()[0] }
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
    assert_eq!(book.database.count("SELECT count(*) FROM runs").await, 3);
}

#[tokio::test]
async fn a_post_that_must_not_wait_looks_again_after_one_that_it_could_not_see() {
    let book = Book::new().await;
    let first = book.begin(book.user("Ada").await, "first").await;
    book.answer(&first, "done").await;
    let other = following(&first, "other");
    let mut posting = book.pool().begin().await.unwrap();
    posts::store(&mut *posting, std::slice::from_ref(&other), 0)
        .await
        .unwrap();
    let strict = [Post {
        reject_if_running: true,
        ..following(&first, "strict")
    }];
    let (outcomes, ()) = tokio::join!(posts::store(book.pool(), &strict, 0), async {
        somebody_waits(&book).await;
        posting.commit().await.unwrap();
    });
    assert_eq!(outcomes.unwrap(), [PostOutcome::LookAgain]);
    let outcomes = posts::store(book.pool(), &strict, 0).await.unwrap();
    assert_eq!(outcomes, [PostOutcome::Running(other.run_id)]);
    let stored = "SELECT count(*) FROM messages WHERE content = 'strict'";
    assert_eq!(book.database.count(stored).await, 0);
}
