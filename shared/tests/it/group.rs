//! GroupCommit commit over a real statement: a bad request fails alone.

use std::sync::Arc;

use errand_shared::{
    Uuid,
    service::lifecycle::Lifecycle,
    storage::{
        self,
        group_commit::GroupCommit,
        queue::posts::{self, Post, PostOutcome},
    },
};
use futures::future::join_all;

use crate::book::{Book, opening};

#[tokio::test]
async fn a_post_that_postgres_refuses_fails_alone() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let stranger = opening(Uuid::now_v7(), "from nobody");
    let posts = [opening(ada, "0"), stranger, opening(ada, "1"), opening(ada, "2")];
    let pool = book.pool().clone();
    let lifecycle = Lifecycle::new();
    let group = GroupCommit::start(64, &lifecycle, move |batch: Arc<[Post]>| {
        let pool = pool.clone();
        async move { posts::store(&pool, &batch, 0).await }
    });
    // All wait before a writer has begun.
    let outcomes = join_all(posts.iter().map(|post| group.write(post.clone()))).await;
    for (post, outcome) in posts.iter().zip(outcomes) {
        match outcome {
            Ok(posted) => assert_eq!(posted, PostOutcome::Stored),
            Err(error) => {
                assert!(storage::violates_user(&error), "{error}");
                assert_eq!(post.content, "from nobody");
            }
        }
    }
    let stored = book
        .database
        .texts("SELECT content FROM messages ORDER BY content")
        .await;
    assert_eq!(stored, ["0", "1", "2"]);
    lifecycle.stop();
}
