//! Group commit with a real statement.

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

use crate::test_db::{TestDb, first_post};

#[tokio::test]
async fn rejected_post_fails_alone() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let stranger = first_post(Uuid::now_v7(), "from an unknown user");
    let posts = [
        first_post(ada, "0"),
        stranger,
        first_post(ada, "1"),
        first_post(ada, "2"),
    ];
    let pool = db.pool().clone();
    let lifecycle = Lifecycle::new();
    let group = GroupCommit::start(64, &lifecycle, move |batch: Arc<[Post]>| {
        let pool = pool.clone();
        async move { posts::store_batch(&pool, &batch, 0).await }
    });
    // All requests wait before a writer starts.
    let outcomes = join_all(posts.iter().map(|post| group.write(post.clone()))).await;
    for (post, outcome) in posts.iter().zip(outcomes) {
        match outcome {
            Ok(posted) => assert_eq!(posted, PostOutcome::Stored),
            Err(error) => {
                assert!(storage::violates_user(&error), "{error}");
                assert_eq!(post.content, "from an unknown user");
            }
        }
    }
    let stored = db
        .database
        .texts("SELECT content FROM messages ORDER BY content")
        .await;
    assert_eq!(stored, ["0", "1", "2"]);
    lifecycle.stop();
}
