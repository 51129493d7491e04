//! A database with users who post, and the short cuts that the tests share.

use errand_shared::{
    Uuid,
    domain::{chat::Usage, events::final_seq},
    storage::{
        journal::steps::StepRecord,
        queue::{
            claims::{self, ClaimBounds, Lease},
            posts::{self, Origin, Post, PostOutcome},
        },
        runs::finish::{self, Ending, Finish, Finished},
    },
};
use errand_testkit::{Database, eventually};
use serde_json::json;
use sqlx::PgPool;

/// Bounds that leave nothing out.
pub(crate) const WIDE: ClaimBounds = ClaimBounds {
    history_turns: 1000,
    history_bytes: 1_000_000,
    deadline_seconds: 300.0,
};

pub(crate) struct Book {
    pub(crate) database: Database,
}

impl Book {
    pub(crate) async fn new() -> Self {
        Self {
            database: Database::new().await,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    pub(crate) async fn user(&self, name: &str) -> Uuid {
        let id = Uuid::now_v7();
        let insert =
            format!("INSERT INTO users (id, email, name) VALUES ('{id}', '{id}@example.com', '{name}')");
        self.database.execute(&insert).await.unwrap();
        id
    }

    /// Stores one post.
    pub(crate) async fn post(&self, post: &Post) {
        assert_eq!(
            posts::store_quickly(self.pool(), std::slice::from_ref(post), 0)
                .await
                .unwrap(),
            [PostOutcome::Stored]
        );
    }

    /// A new conversation with one message; its run.
    pub(crate) async fn begin(&self, user_id: Uuid, content: &str) -> Post {
        let post = opening(user_id, content);
        self.post(&post).await;
        post
    }

    /// One more message in the conversation of `earlier`.
    pub(crate) async fn go_on(&self, earlier: &Post, content: &str) -> Post {
        let post = following(earlier, content);
        self.post(&post).await;
        post
    }

    /// Claims a run that is ready.
    pub(crate) async fn claim(&self, run_id: Uuid) -> Lease {
        self.try_claim(run_id).await.unwrap()
    }

    /// Claims a run, if it is ready.
    pub(crate) async fn try_claim(&self, run_id: Uuid) -> Option<Lease> {
        claims::claim(self.pool(), Uuid::now_v7(), &[run_id], WIDE)
            .await
            .unwrap()
            .pop()
    }

    /// Ends a run, if the lease still holds.
    pub(crate) async fn finish(&self, finish: &Finish) -> Option<Finished> {
        finish::finish_quickly(self.pool(), std::slice::from_ref(finish))
            .await
            .unwrap()
            .pop()
    }

    /// A whole turn with a reply.
    pub(crate) async fn answer(&self, post: &Post, reply: &str) {
        let lease = self.claim(post.run_id).await;
        self.finish(&reply_to(&lease, reply)).await.unwrap();
    }

    pub(crate) async fn assistant_messages(&self) -> i64 {
        self.database
            .count("SELECT count(*) FROM messages WHERE role = 'assistant'")
            .await
    }
}

pub(crate) fn opening(user_id: Uuid, content: &str) -> Post {
    Post {
        run_id: Uuid::now_v7(),
        message_id: Uuid::now_v7(),
        user_id,
        conversation_id: Uuid::now_v7(),
        new_conversation: true,
        content: content.to_owned(),
        agent: None,
        reject_if_running: false,
        key: None,
        origin: Origin::default(),
    }
}

pub(crate) fn following(earlier: &Post, content: &str) -> Post {
    Post {
        conversation_id: earlier.conversation_id,
        new_conversation: false,
        ..opening(earlier.user_id, content)
    }
}

/// The end of a lease's run with a reply.
pub(crate) fn reply_to(lease: &Lease, content: &str) -> Finish {
    Finish {
        run_id: lease.run_id,
        token: Some(lease.token),
        final_event_seq: final_seq(lease.epoch),
        ending: Ending::Succeeded {
            message_id: Uuid::now_v7(),
            content: content.to_owned(),
            tool_calls: json!([]),
        },
        last_step: None,
    }
}

pub(crate) fn step(number: i16, prompt_tokens: i64, completion_tokens: i64) -> StepRecord {
    StepRecord {
        step: number,
        attempt: 1,
        model: format!("model {number}"),
        content: String::new(),
        usage: Usage::new(prompt_tokens, completion_tokens),
        model_ms: 1,
        tools_ms: 1,
    }
}

/// The runs that are ready.
pub(crate) async fn ready(pool: &PgPool, limit: i64) -> Vec<Uuid> {
    let found = claims::find_ready(pool, Uuid::nil(), limit).await.unwrap();
    found.into_iter().map(|hint| hint.run_id).collect()
}

/// Waits until somebody waits for a lock in the book's database.
pub(crate) async fn somebody_waits(book: &Book) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("somebody waits for a lock", || async {
        book.database.count(waiting).await > 0
    })
    .await;
}
