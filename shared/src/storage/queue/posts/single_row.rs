//! One post without a key that may wait behind an open run: by far the most common case. The same as [`super::store_batch`] in
//! a statement of few plan nodes, because Postgres takes as long to set up the large one as to run it.

use sqlx::PgExecutor;
use uuid::Uuid;

use super::Post;

/// Stores a post. Returns false if it was not stored: [`super::store_batch`] then finds out why.
///
/// # Errors
/// As for [`super::store_batch`].
pub(super) async fn store(
    executor: impl PgExecutor<'_>,
    post: &Post,
    max_open: i64,
) -> Result<bool, sqlx::Error> {
    let stored = if post.new_conversation {
        start_conversation(executor, post, max_open).await?
    } else {
        continue_conversation(executor, post, max_open).await?
    };
    Ok(stored.is_some())
}

async fn start_conversation(
    executor: impl PgExecutor<'_>,
    post: &Post,
    max_open: i64,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        WITH new_conversation AS (
            -- The limit on open runs is part of the condition: without a conversation, nothing else is inserted.
            INSERT INTO conversations (id, user_id, title, agent, last_seq)
            SELECT $4::uuid, $3::uuid, to_char(now() AT TIME ZONE 'UTC', '"Chat "YYYY-MM-DD HH24:MI'), $8::text, 1
            WHERE $9::int8 = 0 OR $9 > (SELECT count(*) FROM (SELECT FROM runs r WHERE r.user_id = $3
                AND r.status IN ('queued', 'running', 'waiting_approval') -- open run
                LIMIT $9) open)
            RETURNING id
        ), new_run AS (
            INSERT INTO runs (id, conversation_id, user_id, seq, ring_at, request_id, traceparent)
            SELECT $1::uuid, id, $3, 1, now() + interval '5 seconds' /* renotify */, $6::text, $7::text FROM new_conversation
        ), user_message AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content)
            SELECT $2::uuid, id, 1, $1, 0, 'user', $5::text FROM new_conversation
        )
        SELECT id FROM new_conversation
        "#,
        post.run_id,
        post.message_id,
        post.user_id,
        post.conversation_id,
        post.content,
        post.origin.request_id,
        post.origin.traceparent,
        post.agent,
        max_open,
    )
    .fetch_optional(executor)
    .await
}

async fn continue_conversation(
    executor: impl PgExecutor<'_>,
    post: &Post,
    max_open: i64,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        WITH numbered AS (
            -- Locks the conversation and assigns the next number, within the limit on open runs.
            UPDATE conversations c SET last_seq = c.last_seq + 1,
                updated_at = GREATEST(c.updated_at, clock_timestamp())
            WHERE c.id = $4 AND c.user_id = $3
              AND ($8::int8 = 0 OR $8 > (SELECT count(*) FROM (SELECT FROM runs r WHERE r.user_id = $3
                AND r.status IN ('queued', 'running', 'waiting_approval') -- open run
                LIMIT $8) open))
            RETURNING c.id, c.last_seq AS seq
        ), new_run AS (
            INSERT INTO runs (id, conversation_id, user_id, seq, ring_at, request_id, traceparent)
            SELECT $1::uuid, id, $3, seq, now() + interval '5 seconds' /* renotify */, $6::text, $7::text FROM numbered
        ), user_message AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content)
            SELECT $2::uuid, id, seq, $1, 0, 'user', $5::text FROM numbered
        )
        SELECT id FROM numbered
        "#,
        post.run_id,
        post.message_id,
        post.user_id,
        post.conversation_id,
        post.content,
        post.origin.request_id,
        post.origin.traceparent,
        max_open,
    )
    .fetch_optional(executor)
    .await
}
