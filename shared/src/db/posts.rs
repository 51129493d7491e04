//! The post: a person's message and the run it starts, stored together or not at all.

use sqlx::PgExecutor;
use uuid::Uuid;

/// A message to store. All ids are made by the caller, so that a commit whose outcome is unknown can be looked up.
#[derive(Clone, Debug)]
pub struct Post {
    /// The run that the message starts.
    pub run_id: Uuid,
    /// The message.
    pub message_id: Uuid,
    /// Who says it.
    pub user_id: Uuid,
    /// Where; the id of a conversation to be made if `new_conversation`.
    pub conversation_id: Uuid,
    /// Whether the post makes its conversation.
    pub new_conversation: bool,
    /// The text as sent.
    pub content: String,
    /// The caller's key, with the SHA-256 of the request's parsed fields.
    pub key: Option<(String, [u8; 32])>,
}

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It is stored, once the statement's commit has returned.
    Stored,
    /// The conversation is not there or not this user's; nothing is stored.
    NoConversation,
    /// The user has too many open runs; nothing is stored.
    TooManyOpen,
    /// The key was used before: see [`super::idempotency::find`]; nothing is stored.
    KeyKnown,
}

/// Stores posts, one outcome each in the order given; one statement and one commit for all.
///
/// Locks are taken on conversations in the order of their ids. The lock of a conversation hands out sequence numbers,
/// so that order of commit is order of sequence. `max_open` bounds the open runs of a user; 0 is no bound.
///
/// # Errors
/// A fault of Postgres; then nothing is stored, or the outcome is unknown if the connection broke. A violation of
/// `idempotency_keys_run_id_fkey` says that a keyed post's conversation was deleted at the same moment: try again.
pub async fn store(
    executor: impl PgExecutor<'_>,
    posts: &[Post],
    max_open: i64,
) -> Result<Vec<Posted>, sqlx::Error> {
    let run_ids: Vec<_> = posts.iter().map(|post| post.run_id).collect();
    let message_ids: Vec<_> = posts.iter().map(|post| post.message_id).collect();
    let user_ids: Vec<_> = posts.iter().map(|post| post.user_id).collect();
    let conversation_ids: Vec<_> = posts.iter().map(|post| post.conversation_id).collect();
    let new: Vec<_> = posts.iter().map(|post| post.new_conversation).collect();
    let contents: Vec<_> = posts.iter().map(|post| post.content.as_str()).collect();
    let keys: Vec<_> = posts
        .iter()
        .map(|post| post.key.as_ref().map(|(key, _)| key.as_str()))
        .collect();
    let fingerprints: Vec<_> = posts
        .iter()
        .map(|post| post.key.as_ref().map(|(_, fingerprint)| fingerprint.as_slice()))
        .collect();
    let outcomes = sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[], $6::text[], $7::text[],
                                 $8::bytea[])
                WITH ORDINALITY AS t (run_id, message_id, user_id, conversation_id, is_new, content, key, fingerprint,
                                      ord)
        ), judged AS MATERIALIZED (
            SELECT i.*, CASE
                WHEN EXISTS (SELECT FROM idempotency_keys k WHERE k.user_id = i.user_id AND k.key = i.key) THEN 'key'
                WHEN NOT i.is_new AND (SELECT c.user_id FROM conversations c WHERE c.id = i.conversation_id)
                    IS DISTINCT FROM i.user_id THEN 'conversation'
                WHEN $9::int8 > 0 AND $9 < row_number() OVER (PARTITION BY i.user_id ORDER BY i.ord)
                    + (SELECT count(*) FROM (SELECT FROM runs r WHERE r.user_id = i.user_id
                        AND r.status IN ('queued', 'running', 'waiting_approval') LIMIT $9) open) THEN 'open'
                ELSE 'stored' END AS outcome
            FROM input i
        ), keyed AS (
            INSERT INTO idempotency_keys (user_id, key, fingerprint, run_id)
            SELECT user_id, key, fingerprint, run_id FROM judged WHERE outcome = 'stored' AND key IS NOT NULL
            ORDER BY user_id, key
            ON CONFLICT DO NOTHING
            RETURNING run_id
        ), accepted AS MATERIALIZED (
            SELECT j.*, row_number() OVER (PARTITION BY j.conversation_id ORDER BY j.ord) AS nth
            FROM judged j
            WHERE j.outcome = 'stored' AND (j.key IS NULL OR j.run_id IN (SELECT run_id FROM keyed))
        ), locked AS MATERIALIZED (
            SELECT c.id FROM conversations c
            WHERE c.id IN (SELECT conversation_id FROM accepted WHERE NOT is_new)
            ORDER BY c.id FOR NO KEY UPDATE
        ), numbered AS (
            UPDATE conversations c SET last_seq = c.last_seq + n.posts,
                updated_at = GREATEST(c.updated_at, clock_timestamp())
            FROM (SELECT a.conversation_id, count(*) AS posts FROM accepted a JOIN locked l ON l.id = a.conversation_id
                  GROUP BY a.conversation_id) n
            WHERE c.id = n.conversation_id
            RETURNING c.id, c.last_seq - n.posts AS base
        ), made AS (
            INSERT INTO conversations (id, user_id, title, last_seq)
            SELECT conversation_id, user_id, to_char(now() AT TIME ZONE 'UTC', '"Chat "YYYY-MM-DD HH24:MI'), count(*)
            FROM accepted WHERE is_new GROUP BY conversation_id, user_id
            RETURNING id, 0::bigint AS base
        ), placed AS MATERIALIZED (
            SELECT a.*, b.base + a.nth AS seq
            FROM accepted a JOIN (SELECT * FROM numbered UNION ALL SELECT * FROM made) b ON b.id = a.conversation_id
        ), started AS (
            INSERT INTO runs (id, conversation_id, user_id, seq, ring_at)
            SELECT run_id, conversation_id, user_id, seq, now() + interval '5 seconds' FROM placed
        ), said AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content)
            SELECT message_id, conversation_id, seq, run_id, 0, 'user', content FROM placed
        )
        SELECT CASE
            WHEN j.outcome <> 'stored' THEN j.outcome
            WHEN EXISTS (SELECT FROM placed p WHERE p.run_id = j.run_id) THEN 'stored'
            WHEN EXISTS (SELECT FROM accepted a WHERE a.run_id = j.run_id) THEN 'conversation'
            ELSE 'key' END AS "outcome!"
        FROM judged j ORDER BY j.ord
        "#,
        &run_ids,
        &message_ids,
        &user_ids,
        &conversation_ids,
        &new,
        &contents as &[&str],
        &keys as &[Option<&str>],
        &fingerprints as &[Option<&[u8]>],
        max_open,
    )
    .fetch_all(executor)
    .await?;
    Ok(outcomes
        .iter()
        .map(|outcome| match outcome.as_str() {
            "stored" => Posted::Stored,
            "conversation" => Posted::NoConversation,
            "open" => Posted::TooManyOpen,
            _ => Posted::KeyKnown,
        })
        .collect())
}
