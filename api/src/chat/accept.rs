//! The chat: stores a message with its run, rings, waits.

use std::time::Duration;

use errand_shared::{
    Uuid,
    domain::{
        chat::{ChatResponse, Usage},
        run::RunStatus,
    },
    service::{
        failpoints::{self, Failpoint},
        metrics::observe,
    },
    storage::{
        self, idempotency,
        queue::posts::{self, Origin, Post, PostOutcome},
        runs,
    },
};
use tokio::time::Instant;
use tracing::Instrument;

use super::{IfRunning, NewMessage, Told, attach, wait::wait_out};
use crate::{
    chat::waiter::Wait,
    http::error::ApiError,
    metrics,
    state::{App, within},
};

/// How often a post is tried while its conversation changes under it.
const TRIES: usize = 4;

/// Where a message went.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It was stored, and started this run, for which a wait has begun.
    Fresh(Box<ChatResponse>, Wait),
    /// Its key stands for this run.
    Known(Uuid),
}

/// Stores a message and waits for its run at most so long; or finds the run that its key stands for, and waits for that.
/// Gives the run as far as it has come, and how long it took to store the message or to find the run.
///
/// # Errors
/// As [`post`].
pub(crate) async fn chat(
    app: &App,
    message: NewMessage,
    patience: Duration,
) -> Result<(Told, Duration), ApiError> {
    let began = Instant::now();
    let user_id = message.user_id;
    // On the heap, and only as long as it lasts: thousands wait for what comes after.
    let posting = Box::pin(post(app, message)).await?;
    let accepted = began.elapsed();
    let told = match posting {
        Accepted::Fresh(fresh, wait) => wait_out(app, wait, patience, user_id, *fresh, 0).await,
        Accepted::Known(run_id) => Box::pin(attach(app, user_id, run_id, patience)).await,
    };
    Ok((told?, accepted))
}

/// Stores a message with its run and rings; or finds the run that its key stands for.
///
/// # Errors
/// As the chat's table has them; except after [`ApiError::DatabaseAway`], nothing is stored then.
pub(crate) async fn post(app: &App, message: NewMessage) -> Result<Accepted, ApiError> {
    let began = Instant::now();
    let posting = take_in(app, message).await;
    let outcome = match &posting {
        Ok(Accepted::Fresh(..)) => {
            observe(&app.metrics.post_duration, began.elapsed());
            metrics::Post::Stored
        }
        Ok(Accepted::Known(_)) => metrics::Post::Attached,
        Err(ApiError::TooMany { .. }) => metrics::Post::RateLimit,
        Err(ApiError::OpenRuns) => metrics::Post::OpenRuns,
        Err(ApiError::QueueFull) => metrics::Post::QueueFull,
        Err(ApiError::DatabaseAway { .. } | ApiError::Internal(_)) => metrics::Post::Unavailable,
        Err(_) => metrics::Post::Refused,
    };
    app.metrics.posts.of(outcome).inc();
    posting
}

async fn take_in(app: &App, message: NewMessage) -> Result<Accepted, ApiError> {
    let deadline = app.database_deadline();
    if let Err(refusal) = admit(app, message.user_id, deadline).await {
        // A message that was taken before is answered before any limit is looked at.
        return match known(app, &message, deadline).await? {
            Some(run_id) => Ok(Accepted::Known(run_id)),
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
    // Before the commit, so that no news can be missed.
    let wait = app.waiter.wait_for(post.user_id, post.run_id);
    match store(app, &post, deadline).await? {
        PostOutcome::Stored => {
            wait.is_stored();
            tracing::debug!(run.id = %post.run_id, conversation.id = %post.conversation_id, "a message was stored");
            failpoints::hit(Failpoint::PostCommitted);
            app.notifier.notify_ready(post.user_id, post.run_id);
            app.notifier
                .publish_posted(post.user_id, post.run_id, post.conversation_id, app.clock.now());
            failpoints::hit(Failpoint::PostNotified);
            let fresh = ChatResponse {
                conversation_id: post.conversation_id,
                message: String::new(),
                tool_calls: Vec::new(),
                usage: Usage::default(),
                run_id: post.run_id,
                status: RunStatus::Queued,
                approvals: Vec::new(),
                problem: None,
            };
            Ok(Accepted::Fresh(Box::new(fresh), wait))
        }
        PostOutcome::ConversationNotFound => Err(no_conversation(post.conversation_id)),
        PostOutcome::TooManyOpenRuns => Err(ApiError::OpenRuns),
        PostOutcome::RunInProgress(active_run_id) => Err(ApiError::Running { active_run_id }),
        PostOutcome::ConversationChanged => Err(ApiError::Busy(
            "The conversation is too busy to tell whether a message of it is being answered; try again.",
        )),
        PostOutcome::KeyAlreadyUsed => match known(app, &message, deadline).await? {
            Some(run_id) => Ok(Accepted::Known(run_id)),
            None => Err(gone()),
        },
    }
}

/// The conversation of a run of this user.
///
/// # Errors
/// 404 if there is none; a fault of Postgres.
pub(crate) async fn conversation_of(app: &App, user_id: Uuid, run_id: Uuid) -> Result<Uuid, ApiError> {
    let run = app.database(runs::response(&app.pool, user_id, run_id)).await?;
    run.map(|run| run.conversation_id).ok_or_else(gone)
}

/// The rates and the high-water mark.
async fn admit(app: &App, user_id: Uuid, deadline: Instant) -> Result<(), ApiError> {
    app.rates.chat(user_id)?;
    let mark = i64::from(app.settings.chat.max_queued_runs);
    if mark > 0 && within(deadline, app.queue_depth.is_at(mark, &app.pool)).await? {
        return Err(ApiError::QueueFull);
    }
    Ok(())
}

/// The run that the message's key stands for, if it was used before.
async fn known(app: &App, message: &NewMessage, deadline: Instant) -> Result<Option<Uuid>, ApiError> {
    let Some((key, fingerprint)) = &message.key else {
        return Ok(None);
    };
    let found = within(deadline, idempotency::find(&app.pool, message.user_id, key));
    let Some(known) = found.await? else {
        return Ok(None);
    };
    if known.fingerprint != fingerprint {
        let rule = "was used for another message; take a new one";
        return Err(ApiError::invalid("Idempotency-Key", rule));
    }
    known.run_id.map(Some).ok_or_else(gone)
}

/// Stores a post. A broken connection leaves the outcome unknown: then the run is looked for by its id.
async fn store(app: &App, post: &Post, deadline: Instant) -> Result<PostOutcome, ApiError> {
    let tries = async {
        let mut done = write(app, post).await;
        for _ in 1..TRIES {
            // Its conversation was deleted, or changed, at the same moment: another try finds that out.
            let again = match &done {
                Err(error) => storage::violates(error, "idempotency_keys_run_id_fkey"),
                Ok(outcome) => *outcome == PostOutcome::ConversationChanged,
            };
            if !again {
                break;
            }
            done = write(app, post).await;
        }
        done
    };
    let stored = within(deadline, tries).instrument(errand_shared::trace!("post"));
    match stored.await {
        Ok(outcome) => Ok(outcome),
        Err(ApiError::DatabaseAway { source, .. }) => {
            let found = runs::response(&app.pool, post.user_id, post.run_id);
            match tokio::time::timeout(Duration::from_millis(400), found).await {
                Ok(Ok(Some(_))) => Ok(PostOutcome::Stored),
                _ => Err(ApiError::DatabaseAway {
                    run_id: Some(post.run_id),
                    source,
                }),
            }
        }
        Err(error) => Err(error),
    }
}

/// One that must not wait behind an open run is written alone: of several in one statement none would see the others.
async fn write(app: &App, post: &Post) -> Result<PostOutcome, sqlx::Error> {
    if !post.reject_if_running {
        return app.posts.write(post.clone()).await;
    }
    let max_open = i64::from(app.settings.chat.max_open_runs_per_user);
    let alone = posts::store_batch(&app.pool, std::slice::from_ref(post), max_open).await?;
    alone.into_iter().next().ok_or(sqlx::Error::RowNotFound)
}

/// 404 for a conversation.
pub(crate) fn no_conversation(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("Conversation {id} not found"))
}

/// 404 for a run.
pub(crate) fn no_run(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("Run {id} not found"))
}

pub(super) fn gone() -> ApiError {
    ApiError::NotFound("The conversation of this message was deleted".to_owned())
}
