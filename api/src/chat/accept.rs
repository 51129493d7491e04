//! Accepts a message: stores it with its run in Postgres, then notifies the workers through Redis.
//!
//! Everything that a message causes is here: the limits it must pass, the statement that stores it, and the two Redis
//! messages that follow its commit ("run X is ready" for the workers, the event `run.queued` for subscribers).

use std::{sync::Arc, time::Duration};

use errand_shared::{
    Uuid,
    domain::{
        chat::{ChatResponse, Usage},
        run::RunStatus,
    },
    service::{
        failpoints::{self, Failpoint},
        lifecycle::Lifecycle,
        metrics::observe,
    },
    storage::{
        self, Pool,
        group_commit::GroupCommit,
        idempotency,
        queue::posts::{self, Origin, Post, PostOutcome},
        runs,
    },
};
use tokio::time::Instant;
use tracing::Instrument;

use super::{ChatState, IfRunning, NewMessage, RunSnapshot, wait, waiter::Wait};
use crate::{
    http::{database::run_until, error::ApiError},
    metrics,
};

/// How often a message is stored again because its conversation changed at the same moment.
const MAX_ATTEMPTS: usize = 4;
/// How long to look for a run whose commit has an unknown outcome.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(400);

/// An accepted message.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It was stored and started this run, which is already being waited for.
    New(Box<ChatResponse>, Wait),
    /// Its idempotency key belongs to this earlier run.
    Existing(Uuid),
}

/// Accepts a message and waits for its run for at most `timeout`. Returns the run's current state and the time it took to
/// accept the message.
///
/// # Errors
/// As [`accept`] and [`wait::wait_for_run`].
pub(crate) async fn post_and_wait(
    chat: &ChatState,
    message: NewMessage,
    timeout: Duration,
) -> Result<(RunSnapshot, Duration), ApiError> {
    let started = Instant::now();
    let user_id = message.user_id;
    // Boxed so that its memory is freed before the wait: thousands of requests wait at the same time.
    let accepted = Box::pin(accept(chat, message)).await?;
    let accept_time = started.elapsed();
    let run = match accepted {
        Accepted::New(run, wait) => wait::wait_for_change(chat, wait, timeout, user_id, *run, 0).await,
        Accepted::Existing(run_id) => Box::pin(wait::wait_for_run(chat, user_id, run_id, timeout)).await,
    };
    Ok((run?, accept_time))
}

/// Stores a message with its run and notifies the workers, or finds the run that its idempotency key belongs to.
///
/// # Errors
/// The errors of `POST …/chat`. Nothing is stored, except possibly after [`ApiError::DatabaseUnavailable`].
pub(crate) async fn accept(chat: &ChatState, message: NewMessage) -> Result<Accepted, ApiError> {
    let started = Instant::now();
    let accepted = accept_unmeasured(chat, message).await;
    let outcome = match &accepted {
        Ok(Accepted::New(..)) => {
            observe(&chat.post_duration, started.elapsed());
            metrics::Post::Stored
        }
        Ok(Accepted::Existing(_)) => metrics::Post::Attached,
        Err(ApiError::TooMany { .. }) => metrics::Post::RateLimit,
        Err(ApiError::OpenRuns) => metrics::Post::OpenRuns,
        Err(ApiError::QueueFull) => metrics::Post::QueueFull,
        Err(ApiError::DatabaseUnavailable { .. } | ApiError::Internal(_)) => metrics::Post::Unavailable,
        Err(_) => metrics::Post::Refused,
    };
    chat.posts_total.of(outcome).inc();
    accepted
}

async fn accept_unmeasured(chat: &ChatState, message: NewMessage) -> Result<Accepted, ApiError> {
    let deadline = chat.database.deadline();
    if let Err(refusal) = check_limits(chat, message.user_id, deadline).await {
        // Limits do not apply to a message that was accepted earlier.
        return match find_by_idempotency_key(chat, &message, deadline).await? {
            Some(run_id) => Ok(Accepted::Existing(run_id)),
            None => Err(refusal),
        };
    }
    let post = Post {
        run_id: Uuid::now_v7(),
        message_id: Uuid::now_v7(),
        user_id: message.user_id,
        conversation_id: message.conversation_id.unwrap_or_else(Uuid::now_v7),
        new_conversation: message.conversation_id.is_none(),
        content: message.text.clone(),
        agent: message.agent.clone(),
        reject_if_running: message.if_running == IfRunning::Reject,
        key: message.key.clone(),
        origin: Origin {
            request_id: message.request_id.clone(),
            traceparent: errand_shared::service::traces::traceparent(&tracing::Span::current()),
        },
    };
    // Registered before the commit so that the end of the run cannot be missed.
    let wait = chat.waiter.wait_for(post.user_id, post.run_id);
    match store(chat, &post, deadline).await? {
        PostOutcome::Stored => {
            wait.mark_stored();
            tracing::debug!(run.id = %post.run_id, conversation.id = %post.conversation_id, "message stored");
            notify(chat, &post);
            Ok(Accepted::New(Box::new(queued(&post)), wait))
        }
        PostOutcome::ConversationNotFound => Err(ApiError::conversation_not_found(post.conversation_id)),
        PostOutcome::TooManyOpenRuns => Err(ApiError::OpenRuns),
        PostOutcome::RunInProgress(active_run_id) => Err(ApiError::Running { active_run_id }),
        PostOutcome::ConversationChanged => Err(ApiError::Busy(
            "The conversation keeps changing, so whether one of its runs is open is unknown; try again.",
        )),
        PostOutcome::KeyAlreadyUsed => match find_by_idempotency_key(chat, &message, deadline).await? {
            Some(run_id) => Ok(Accepted::Existing(run_id)),
            None => Err(ApiError::conversation_deleted()),
        },
    }
}

/// Checks the user's rate limit and the number of queued runs.
async fn check_limits(chat: &ChatState, user_id: Uuid, deadline: Instant) -> Result<(), ApiError> {
    chat.rates.chat(user_id)?;
    let max = i64::from(chat.settings.max_queued_runs);
    if max > 0 {
        let count = runs::count_queued(&chat.database.pool, max);
        if run_until(deadline, chat.queue_depth.get(count)).await? >= max {
            return Err(ApiError::QueueFull);
        }
    }
    Ok(())
}

/// The run of an earlier message with the same idempotency key.
async fn find_by_idempotency_key(
    chat: &ChatState,
    message: &NewMessage,
    deadline: Instant,
) -> Result<Option<Uuid>, ApiError> {
    let Some((key, fingerprint)) = &message.key else {
        return Ok(None);
    };
    let found = run_until(
        deadline,
        idempotency::find(&chat.database.pool, message.user_id, key),
    );
    let Some(earlier) = found.await? else {
        return Ok(None);
    };
    if earlier.fingerprint != fingerprint {
        let rule = "was already used for a different message; use a new key";
        return Err(ApiError::invalid("Idempotency-Key", rule));
    }
    earlier
        .run_id
        .map(Some)
        .ok_or_else(ApiError::conversation_deleted)
}

/// Starts the writers that store messages: messages that arrive at the same time share one statement and one commit.
pub(crate) fn store_in_groups(
    pool: &Pool,
    max_batch: usize,
    max_open_runs_per_user: u32,
    lifecycle: &Lifecycle,
) -> GroupCommit<Post, PostOutcome> {
    let pool = pool.clone();
    let max_open = i64::from(max_open_runs_per_user);
    GroupCommit::start(max_batch, lifecycle, move |batch: Arc<[Post]>| {
        let pool = pool.clone();
        async move { posts::store(&pool, &batch, max_open).await }
    })
}

/// Stores a message with its run. If the connection breaks during the commit, looks the run up by its id.
async fn store(chat: &ChatState, post: &Post, deadline: Instant) -> Result<PostOutcome, ApiError> {
    let attempts = async {
        let mut stored = store_once(chat, post).await;
        for _ in 1..MAX_ATTEMPTS {
            // The conversation was deleted or changed at the same moment. The next attempt sees the new state.
            let is_conflict = match &stored {
                Err(error) => storage::violates(error, "idempotency_keys_run_id_fkey"),
                Ok(outcome) => *outcome == PostOutcome::ConversationChanged,
            };
            if !is_conflict {
                break;
            }
            stored = store_once(chat, post).await;
        }
        stored
    };
    let stored = run_until(deadline, attempts).instrument(errand_shared::trace!("post"));
    match stored.await {
        Ok(outcome) => Ok(outcome),
        Err(ApiError::DatabaseUnavailable { source, .. }) => {
            let run = runs::response(&chat.database.pool, post.user_id, post.run_id);
            match tokio::time::timeout(LOOKUP_TIMEOUT, run).await {
                Ok(Ok(Some(_))) => Ok(PostOutcome::Stored),
                _ => Err(ApiError::DatabaseUnavailable {
                    run_id: Some(post.run_id),
                    source,
                }),
            }
        }
        Err(error) => Err(error),
    }
}

/// A message with `if_running: reject` has a statement of its own, because messages in one statement do not see each other.
async fn store_once(chat: &ChatState, post: &Post) -> Result<PostOutcome, sqlx::Error> {
    if !post.reject_if_running {
        return chat.posts.write(post.clone()).await;
    }
    let max_open = i64::from(chat.settings.max_open_runs_per_user);
    let outcomes = posts::store_batch(&chat.database.pool, std::slice::from_ref(post), max_open).await?;
    outcomes.into_iter().next().ok_or(sqlx::Error::RowNotFound)
}

/// Notifies the workers that the run is ready, and publishes to the user's subscribers that it is queued.
fn notify(chat: &ChatState, post: &Post) {
    failpoints::hit(Failpoint::PostCommitted);
    chat.notifier.notify_ready(post.user_id, post.run_id);
    let now = chat.clock.now();
    chat.notifier
        .publish_posted(post.user_id, post.run_id, post.conversation_id, now);
    failpoints::hit(Failpoint::PostNotified);
}

fn queued(post: &Post) -> ChatResponse {
    ChatResponse {
        conversation_id: post.conversation_id,
        message: String::new(),
        tool_calls: Vec::new(),
        usage: Usage::default(),
        run_id: post.run_id,
        status: RunStatus::Queued,
        approvals: Vec::new(),
        problem: None,
    }
}

/// The conversation of a user's run.
///
/// # Errors
/// [`ApiError::NotFound`] if the user has no such run; a database error.
pub(crate) async fn conversation_of(chat: &ChatState, user_id: Uuid, run_id: Uuid) -> Result<Uuid, ApiError> {
    let run = chat
        .database
        .run(runs::response(&chat.database.pool, user_id, run_id))
        .await?;
    run.map(|run| run.conversation_id)
        .ok_or_else(ApiError::conversation_deleted)
}
