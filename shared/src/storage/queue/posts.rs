//! The post: a person's message and the run it starts, stored together or not at all.

mod lone;

use std::collections::HashMap;

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
    /// The agent that a conversation to be made chooses; none is the default one.
    pub agent: Option<String>,
    /// Whether it is not to be stored while a run of its conversation is open.
    pub reject_if_running: bool,
    /// The caller's key, with the SHA-256 of the request's parsed fields.
    pub key: Option<(String, [u8; 32])>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a message comes from, for those who look for it later.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The request that brought it.
    pub request_id: Option<String>,
    /// The trace that goes on in its worker, as `traceparent` of W3C Trace Context.
    pub traceparent: Option<String>,
}

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    /// It is stored, once the statement's commit has returned.
    Stored,
    /// The conversation is not there or not this user's; nothing is stored.
    NoConversation,
    /// The user has too many open runs; nothing is stored.
    TooManyOpen,
    /// This run of the conversation is open, and the post asked not to wait behind one; nothing is stored.
    Running(Uuid),
    /// Something happened in the conversation while the statement waited for it, and the post asked not to wait behind an
    /// open run: nothing is stored, ask again.
    LookAgain,
    /// The key was used before: see [`super::idempotency::find`]; nothing is stored.
    KeyKnown,
}

/// Stores posts as [`store`] does; one that comes by itself the quickest way there is.
///
/// # Errors
/// As [`store`].
pub async fn store_quickly(
    executor: impl PgExecutor<'_> + Copy,
    posts: &[Post],
    max_open: i64,
) -> Result<Vec<PostOutcome>, sqlx::Error> {
    if let [post] = posts
        && post.key.is_none()
        && !post.reject_if_running
        && lone::store(executor, post, max_open).await?
    {
        return Ok(vec![PostOutcome::Stored]);
    }
    store(executor, posts, max_open).await
}

/// Stores posts, one outcome each in the order given; one statement and one commit for all.
///
/// Locks are taken on conversations in the order of their ids. The lock of a conversation hands out sequence numbers,
/// so that order of commit is order of sequence. `max_open` bounds the open runs of a user; 0 is no bound.
///
/// # Errors
/// A fault of Postgres; then nothing is stored, or the outcome is unknown if the connection broke. A violation of
/// `idempotency_keys_run_id_fkey` says that a keyed post's conversation was deleted, or changed under a post that does not
/// wait behind an open run, at the same moment: try again.
#[expect(
    clippy::too_many_lines,
    reason = "one statement, which reads best in one piece"
)]
pub async fn store(
    executor: impl PgExecutor<'_>,
    posts: &[Post],
    max_open: i64,
) -> Result<Vec<PostOutcome>, sqlx::Error> {
    let run_ids: Vec<_> = posts.iter().map(|post| post.run_id).collect();
    let message_ids: Vec<_> = posts.iter().map(|post| post.message_id).collect();
    let user_ids: Vec<_> = posts.iter().map(|post| post.user_id).collect();
    let conversation_ids: Vec<_> = posts.iter().map(|post| post.conversation_id).collect();
    let new: Vec<_> = posts.iter().map(|post| post.new_conversation).collect();
    let contents: Vec<_> = posts.iter().map(|post| post.content.as_str()).collect();
    let rejecting: Vec<_> = posts.iter().map(|post| post.reject_if_running).collect();
    let agents: Vec<_> = posts.iter().map(|post| post.agent.as_deref()).collect();
    let keys: Vec<_> = posts
        .iter()
        .map(|post| post.key.as_ref().map(|(key, _)| key.as_str()))
        .collect();
    let fingerprints: Vec<_> = posts
        .iter()
        .map(|post| post.key.as_ref().map(|(_, fingerprint)| fingerprint.as_slice()))
        .collect();
    let request_ids: Vec<_> = posts
        .iter()
        .map(|post| post.origin.request_id.as_deref())
        .collect();
    let traceparents: Vec<_> = posts
        .iter()
        .map(|post| post.origin.traceparent.as_deref())
        .collect();
    let outcomes = sqlx::query!(
        r#"
        WITH judged AS MATERIALIZED (
            SELECT i.*,
                CASE WHEN i.rejecting THEN (SELECT c.last_seq FROM conversations c WHERE c.id = i.conversation_id) END
                    AS seen_seq,
                CASE WHEN i.rejecting THEN (SELECT r.id FROM runs r WHERE r.user_id = i.user_id
                    AND r.conversation_id = i.conversation_id AND r.status IN ('queued', 'running', 'waiting_approval')
                    ORDER BY r.seq LIMIT 1) END AS active,
                CASE
                -- Not EXISTS, which may be answered by reading all keys once.
                WHEN (SELECT true FROM idempotency_keys k WHERE k.user_id = i.user_id AND k.key = i.key) THEN 'key'
                WHEN NOT i.is_new AND (SELECT c.user_id FROM conversations c WHERE c.id = i.conversation_id)
                    IS DISTINCT FROM i.user_id THEN 'conversation'
                WHEN $9::int8 > 0 AND $9 < i.nth + (SELECT count(*) FROM (SELECT FROM runs r WHERE r.user_id = i.user_id
                        AND r.status IN ('queued', 'running', 'waiting_approval') LIMIT $9) open) THEN 'open'
                ELSE 'stored' END AS verdict
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[], $6::text[], $7::text[],
                        $8::bytea[], $10::bool[], $11::text[], $12::text[], $13::text[], $14::int8[])
                WITH ORDINALITY AS i (run_id, message_id, user_id, conversation_id, is_new, content, key, fingerprint,
                                      rejecting, request_id, traceparent, agent, nth, ord)
        ), keyed AS (
            INSERT INTO idempotency_keys (user_id, key, fingerprint, run_id)
            SELECT user_id, key, fingerprint, run_id FROM judged
            WHERE verdict = 'stored' AND active IS NULL AND key IS NOT NULL
            ORDER BY user_id, key
            ON CONFLICT DO NOTHING
            RETURNING run_id
        ), accepted AS NOT MATERIALIZED (
            SELECT * FROM judged
            WHERE verdict = 'stored' AND active IS NULL AND (key IS NULL OR run_id IN (SELECT run_id FROM keyed))
        ), made AS (
            INSERT INTO conversations (id, user_id, title, agent, last_seq)
            SELECT conversation_id, user_id, to_char(now() AT TIME ZONE 'UTC', '"Chat "YYYY-MM-DD HH24:MI'), agent, 1
            FROM accepted WHERE is_new
        ), locked AS MATERIALIZED (
            SELECT a.*, c.last_seq FROM accepted a JOIN conversations c ON c.id = a.conversation_id
            WHERE NOT a.is_new ORDER BY c.id FOR NO KEY UPDATE OF c
        ), admitted AS NOT MATERIALIZED (
            -- Another last_seq than the one seen: something came while this waited, which this statement can't see.
            SELECT * FROM locked WHERE NOT rejecting OR last_seq = seen_seq
        ), numbered AS (
            UPDATE conversations c SET last_seq = c.last_seq + n.posts,
                updated_at = GREATEST(c.updated_at, clock_timestamp())
            FROM (SELECT conversation_id, count(*) AS posts FROM admitted GROUP BY conversation_id) n
            WHERE c.id = n.conversation_id
        ), placed AS MATERIALIZED (
            SELECT run_id, message_id, user_id, conversation_id, content, request_id, traceparent, 1::int8 AS seq
            FROM accepted WHERE is_new
            UNION ALL
            SELECT run_id, message_id, user_id, conversation_id, content, request_id, traceparent,
                last_seq + row_number() OVER (PARTITION BY conversation_id ORDER BY ord)
            FROM admitted
        ), started AS (
            INSERT INTO runs (id, conversation_id, user_id, seq, ring_at, request_id, traceparent)
            SELECT run_id, conversation_id, user_id, seq, now() + interval '5 seconds', request_id, traceparent FROM placed
        ), said AS (
            INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content)
            SELECT message_id, conversation_id, seq, run_id, 0, 'user', content FROM placed
        )
        SELECT CASE
            WHEN j.verdict <> 'stored' THEN j.verdict
            WHEN j.active IS NOT NULL THEN 'running'
            WHEN j.run_id IN (SELECT p.run_id FROM placed p) THEN 'stored'
            WHEN j.run_id IN (SELECT l.run_id FROM locked l) THEN 'again'
            WHEN j.key IS NULL OR j.run_id IN (SELECT k.run_id FROM keyed k) THEN 'conversation'
            ELSE 'key' END AS "outcome!", j.active
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
        &rejecting,
        &request_ids as &[Option<&str>],
        &traceparents as &[Option<&str>],
        &agents as &[Option<&str>],
        &nth_of_user(posts),
    )
    .fetch_all(executor)
    .await?;
    Ok(outcomes
        .iter()
        .map(|row| match (row.outcome.as_str(), row.active) {
            ("stored", _) => PostOutcome::Stored,
            ("conversation", _) => PostOutcome::NoConversation,
            ("open", _) => PostOutcome::TooManyOpen,
            ("running", Some(active)) => PostOutcome::Running(active),
            ("running" | "again", _) => PostOutcome::LookAgain,
            _ => PostOutcome::KeyKnown,
        })
        .collect())
}

/// The place of each post among those of its user, from 1.
fn nth_of_user(posts: &[Post]) -> Vec<i64> {
    let mut so_far = HashMap::new();
    posts
        .iter()
        .map(|post| {
            let nth = so_far.entry(post.user_id).or_insert(0);
            *nth += 1;
            *nth
        })
        .collect()
}
