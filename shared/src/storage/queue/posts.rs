//! Posts: the user's message and the run that answers it, stored together or not at all. This enqueues the run.

mod single_row;

use std::collections::HashMap;

use sqlx::PgExecutor;
use uuid::Uuid;

/// A message to store. The caller creates all ids, so that it can look up the run after a commit whose outcome is unknown.
#[derive(Clone, Debug)]
pub struct Post {
    /// The run that answers the message.
    pub run_id: Uuid,
    /// The message.
    pub message_id: Uuid,
    /// The user who wrote it.
    pub user_id: Uuid,
    /// The conversation. It is created if `new_conversation`.
    pub conversation_id: Uuid,
    /// Whether the post creates its conversation.
    pub new_conversation: bool,
    /// The text as sent.
    pub content: String,
    /// The agent of a new conversation. None means the default agent.
    pub agent: Option<String>,
    /// Whether to reject the post while the conversation has an open run.
    pub reject_if_running: bool,
    /// The caller's idempotency key, with the SHA-256 of the request's parsed fields.
    pub key: Option<(String, [u8; 32])>,
    /// The request that brought the message.
    pub origin: Origin,
}

/// The request that brought a message, for logs and traces.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The id of the request.
    pub request_id: Option<String>,
    /// The trace that the worker continues, as `traceparent` of W3C Trace Context.
    pub traceparent: Option<String>,
}

/// The outcome of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostOutcome {
    /// Stored, once the statement's commit has returned.
    Stored,
    /// The conversation does not exist or belongs to another user. Nothing is stored.
    ConversationNotFound,
    /// The user has too many open runs. Nothing is stored.
    TooManyOpenRuns,
    /// This run of the conversation is open, and the post must not wait behind it. Nothing is stored.
    RunInProgress(Uuid),
    /// The conversation changed while the statement waited for its lock, and the post must not wait behind an open run.
    /// Nothing is stored: try again.
    ConversationChanged,
    /// The key was used before (see [`crate::storage::idempotency::find`]). Nothing is stored.
    KeyAlreadyUsed,
}

/// Stores posts: a single post without special requirements with a statement of few plan nodes, everything else with
/// [`store_batch`].
///
/// # Errors
/// As for [`store_batch`].
pub async fn store(
    executor: impl PgExecutor<'_> + Copy,
    posts: &[Post],
    max_open: i64,
) -> Result<Vec<PostOutcome>, sqlx::Error> {
    if let [post] = posts
        && post.key.is_none()
        && !post.reject_if_running
        && single_row::store(executor, post, max_open).await?
    {
        return Ok(vec![PostOutcome::Stored]);
    }
    store_batch(executor, posts, max_open).await
}

/// Stores posts with one statement and one commit. Returns one outcome per post, in the order given.
///
/// Locks the conversations in the order of their ids. Sequence numbers are assigned under that lock, so their order is the
/// order of the commits. `max_open` limits the open runs of a user; 0 means no limit.
///
/// # Errors
/// A database error. Then nothing is stored; if the connection broke, the outcome is unknown. A violation of
/// `idempotency_keys_run_id_fkey` means that the conversation of a post with a key was deleted at the same moment, or
/// changed while the post must not wait behind an open run: try again.
pub async fn store_batch(
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
    let outcomes = sqlx::query_file!(
        "src/storage/queue/store_posts.sql",
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
            ("conversation", _) => PostOutcome::ConversationNotFound,
            ("open", _) => PostOutcome::TooManyOpenRuns,
            ("running", Some(active)) => PostOutcome::RunInProgress(active),
            ("running" | "changed", _) => PostOutcome::ConversationChanged,
            _ => PostOutcome::KeyAlreadyUsed,
        })
        .collect())
}

/// The position of each post among the posts of its user, from 1.
fn nth_of_user(posts: &[Post]) -> Vec<i64> {
    let mut counts = HashMap::new();
    posts
        .iter()
        .map(|post| {
            let nth = counts.entry(post.user_id).or_insert(0);
            *nth += 1;
            *nth
        })
        .collect()
}
