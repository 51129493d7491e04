//! A test database with users, and the operations that the tests share.

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

/// Limits that no test reaches.
pub(crate) const NO_LIMITS: ClaimBounds = ClaimBounds {
    history_turns: 1000,
    history_bytes: 1_000_000,
    deadline_seconds: 300.0,
};

pub(crate) struct TestDb {
    pub(crate) database: Database,
}

impl TestDb {
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
            posts::store(self.pool(), std::slice::from_ref(post), 0)
                .await
                .unwrap(),
            [PostOutcome::Stored]
        );
    }

    /// Starts a conversation with one message.
    pub(crate) async fn start_conversation(&self, user_id: Uuid, content: &str) -> Post {
        let post = first_post(user_id, content);
        self.post(&post).await;
        post
    }

    /// Adds a message to the conversation of `earlier`.
    pub(crate) async fn continue_conversation(&self, earlier: &Post, content: &str) -> Post {
        let post = next_post(earlier, content);
        self.post(&post).await;
        post
    }

    /// Claims a run that is ready.
    pub(crate) async fn claim(&self, run_id: Uuid) -> Lease {
        self.try_claim(run_id).await.unwrap()
    }

    /// Claims a run, if it is ready.
    pub(crate) async fn try_claim(&self, run_id: Uuid) -> Option<Lease> {
        claims::claim(self.pool(), Uuid::now_v7(), &[run_id], NO_LIMITS)
            .await
            .unwrap()
            .pop()
    }

    /// Finishes a run. None if the lease is lost.
    pub(crate) async fn finish(&self, finish: &Finish) -> Option<Finished> {
        finish::finish(self.pool(), std::slice::from_ref(finish))
            .await
            .unwrap()
            .pop()
    }

    /// Claims the run of a post and finishes it with a reply.
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

pub(crate) fn first_post(user_id: Uuid, content: &str) -> Post {
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

pub(crate) fn next_post(earlier: &Post, content: &str) -> Post {
    Post {
        conversation_id: earlier.conversation_id,
        new_conversation: false,
        ..first_post(earlier.user_id, content)
    }
}

/// A finish with a reply.
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
        provider_data: None,
    }
}

/// Returns the ready runs.
pub(crate) async fn ready(pool: &PgPool, limit: i64) -> Vec<Uuid> {
    let found = claims::find_ready(pool, Uuid::nil(), limit).await.unwrap();
    found.into_iter().map(|run| run.run_id).collect()
}

/// Waits until a session waits for a lock.
pub(crate) async fn wait_for_blocked_session(db: &TestDb) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("a session to wait for a lock", || async {
        db.database.count(waiting).await > 0
    })
    .await;
}
