//! The chat: stores a message with its run, rings, waits.

use std::{sync::Arc, time::Duration};

use errand_shared::{
    Uuid,
    agents::Agents,
    chat::{ChatResponse, Usage},
    db::{
        self, idempotency,
        posts::{self, Origin, Post, Posted},
        runs::{self, RunView},
    },
    kill_point::{self, KillPoint},
    limits::{IDEMPOTENCY_KEY_MAX_CHARS, MESSAGE_MAX_CHARS},
    metrics::observe,
    run::RunStatus,
    timing::RunTiming,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::Instrument;
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    metrics,
    request_id::RequestId,
    state::{App, within},
    waiter::{Change, Outcome, Wait},
};

/// How often a post is tried while its conversation changes under it.
const TRIES: usize = 4;

/// A message that somebody sends, checked.
#[derive(Clone, Debug)]
pub(crate) struct NewMessage {
    user_id: Uuid,
    text: String,
    conversation_id: Option<Uuid>,
    agent: Option<String>,
    if_running: IfRunning,
    key: Option<(String, [u8; 32])>,
    request_id: Option<String>,
}

/// What becomes of a message while a run of its conversation is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IfRunning {
    /// It waits behind it.
    #[default]
    Queue,
    /// It is refused, and nothing is stored.
    Reject,
}

impl NewMessage {
    /// Checks a message and its key.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with the rules that they break.
    pub(crate) fn new(
        user_id: Uuid,
        text: String,
        conversation_id: Option<Uuid>,
        if_running: IfRunning,
        key: Option<&str>,
    ) -> Result<Self, ApiError> {
        let characters = text.chars().count();
        if text.trim().is_empty() {
            return Err(ApiError::invalid("message", "must hold more than white space"));
        }
        if characters > MESSAGE_MAX_CHARS {
            let rule = format!("must have at most {MESSAGE_MAX_CHARS} characters, not {characters}");
            return Err(ApiError::invalid("message", rule));
        }
        if text.contains('\0') {
            return Err(ApiError::invalid("message", "must not hold the character U+0000"));
        }
        if key.is_some_and(|key| !is_key(key)) {
            let rule = format!("must be 1 to {IDEMPOTENCY_KEY_MAX_CHARS} printable ASCII characters");
            return Err(ApiError::invalid("Idempotency-Key", rule));
        }
        let key = key.map(|key| (key.to_owned(), fingerprint(&text, conversation_id, if_running)));
        Ok(Self {
            user_id,
            text,
            conversation_id,
            agent: None,
            if_running,
            key,
            request_id: None,
        })
    }

    /// The same message, brought by this request.
    pub(crate) fn brought_by(mut self, request: &RequestId) -> Self {
        self.request_id = Some(request.as_str().to_owned());
        self
    }

    /// The same for an agent, if one is chosen: only the message that makes a conversation may.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if there is no such agent, or the conversation has its own.
    pub(crate) fn with_agent(mut self, agent: Option<String>, agents: &Agents) -> Result<Self, ApiError> {
        let Some(agent) = agent else { return Ok(self) };
        if self.conversation_id.is_some() {
            let rule = "is chosen by the message that makes the conversation; leave it out";
            return Err(ApiError::invalid("agent", rule));
        }
        if !agents.has(&agent) {
            return Err(ApiError::invalid("agent", "there is no agent of this name"));
        }
        if let Some((_, fingerprint)) = &mut self.key {
            let of_both = Sha256::new()
                .chain_update(*fingerprint)
                .chain_update(agent.as_bytes());
            *fingerprint = of_both.finalize().into();
        }
        self.agent = Some(agent);
        Ok(self)
    }
}

fn is_key(key: &str) -> bool {
    (1..=IDEMPOTENCY_KEY_MAX_CHARS).contains(&key.len())
        && key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// SHA-256 over the parsed fields: the conversation's id or 16 zeros, then the text. A message that is not to wait has a
/// character between them that no text holds.
fn fingerprint(text: &str, conversation_id: Option<Uuid>, if_running: IfRunning) -> [u8; 32] {
    let not_default: &[u8] = match if_running {
        IfRunning::Queue => b"",
        IfRunning::Reject => b"\0",
    };
    Sha256::new()
        .chain_update(conversation_id.unwrap_or(Uuid::nil()).as_bytes())
        .chain_update(not_default)
        .chain_update(text.as_bytes())
        .finalize()
        .into()
}

/// Where a message went.
#[derive(Debug)]
pub(crate) enum Posting {
    /// It was stored, and started this run, for which a wait has begun.
    Fresh(Box<ChatResponse>, Wait),
    /// Its key stands for this run.
    Known(Uuid),
}

/// A run as far as it has come, and where its time went.
#[derive(Debug)]
pub(crate) struct Told {
    /// The run.
    pub(crate) run: ChatResponse,
    /// Where its time went, if it has ended.
    pub(crate) timing: Option<RunTiming>,
}

impl From<ChatResponse> for Told {
    fn from(run: ChatResponse) -> Self {
        Self { run, timing: None }
    }
}

impl From<RunView> for Told {
    fn from(view: RunView) -> Self {
        Self {
            timing: view.response.status.is_final().then_some(view.timing),
            run: view.response,
        }
    }
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
        Posting::Fresh(fresh, wait) => wait_out(app, wait, patience, user_id, *fresh, 0).await,
        Posting::Known(run_id) => Box::pin(attach(app, user_id, run_id, patience)).await,
    };
    Ok((told?, accepted))
}

/// Stores a message with its run and rings; or finds the run that its key stands for.
///
/// # Errors
/// As the chat's table has them; except after [`ApiError::DatabaseAway`], nothing is stored then.
pub(crate) async fn post(app: &App, message: NewMessage) -> Result<Posting, ApiError> {
    let began = Instant::now();
    let posting = take_in(app, message).await;
    let outcome = match &posting {
        Ok(Posting::Fresh(..)) => {
            observe(&app.metrics.post_duration, began.elapsed());
            metrics::Post::Stored
        }
        Ok(Posting::Known(_)) => metrics::Post::Attached,
        Err(ApiError::TooMany { .. }) => metrics::Post::RateLimit,
        Err(ApiError::OpenRuns) => metrics::Post::OpenRuns,
        Err(ApiError::QueueFull) => metrics::Post::QueueFull,
        Err(ApiError::DatabaseAway { .. } | ApiError::Internal(_)) => metrics::Post::Unavailable,
        Err(_) => metrics::Post::Refused,
    };
    app.metrics.posts.of(outcome).inc();
    posting
}

async fn take_in(app: &App, message: NewMessage) -> Result<Posting, ApiError> {
    let deadline = app.database_deadline();
    if let Err(refusal) = admit(app, message.user_id, deadline).await {
        // A message that was taken before is answered before any limit is looked at.
        return match known(app, &message, deadline).await? {
            Some(run_id) => Ok(Posting::Known(run_id)),
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
            traceparent: errand_traces::traceparent(&tracing::Span::current()),
        },
    };
    // Before the commit, so that no news can be missed.
    let wait = app.waiter.wait_for(post.user_id, post.run_id);
    match store(app, &post, deadline).await? {
        Posted::Stored => {
            wait.is_stored();
            tracing::debug!(run.id = %post.run_id, conversation.id = %post.conversation_id, "a message was stored");
            kill_point::reached(KillPoint::PostCommitted);
            app.notifier.ring(post.user_id, post.run_id);
            app.notifier
                .tell_posted(post.user_id, post.run_id, post.conversation_id, app.clock.now());
            kill_point::reached(KillPoint::PostRung);
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
            Ok(Posting::Fresh(Box::new(fresh), wait))
        }
        Posted::NoConversation => Err(no_conversation(post.conversation_id)),
        Posted::TooManyOpen => Err(ApiError::OpenRuns),
        Posted::Running(active_run_id) => Err(ApiError::Running { active_run_id }),
        Posted::LookAgain => Err(ApiError::Busy(
            "The conversation is too busy to tell whether a message of it is being answered; try again.",
        )),
        Posted::KeyKnown => match known(app, &message, deadline).await? {
            Some(run_id) => Ok(Posting::Known(run_id)),
            None => Err(gone()),
        },
    }
}

/// Waits for a run of this user. Its end is told from its row: news may be late, and of an end that a retry has taken back.
///
/// # Errors
/// 404 if there is none; a fault of Postgres.
pub(crate) async fn attach(
    app: &App,
    user_id: Uuid,
    run_id: Uuid,
    patience: Duration,
) -> Result<Told, ApiError> {
    let deadline = Instant::now() + patience;
    loop {
        let wait = app.waiter.wait_for(user_id, run_id);
        let run = app
            .database(runs::view(&app.pool, user_id, run_id))
            .await?
            .ok_or_else(|| no_run(run_id))?;
        if run.response.status.is_final() {
            return Ok(run.into());
        }
        wait.is_stored();
        let left = deadline.saturating_duration_since(Instant::now());
        let told = wait_out(app, wait, left, user_id, run.response, run.epoch).await?;
        if !told.run.status.is_final() {
            return Ok(told);
        }
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
async fn store(app: &App, post: &Post, deadline: Instant) -> Result<Posted, ApiError> {
    let tries = async {
        let mut done = write(app, post).await;
        for _ in 1..TRIES {
            // Its conversation was deleted, or changed, at the same moment: another try finds that out.
            let again = match &done {
                Err(error) => db::violates(error, "idempotency_keys_run_id_fkey"),
                Ok(outcome) => *outcome == Posted::LookAgain,
            };
            if !again {
                break;
            }
            done = write(app, post).await;
        }
        done
    };
    let stored = within(deadline, tries).instrument(errand_traces::trace!("post"));
    match stored.await {
        Ok(outcome) => Ok(outcome),
        Err(ApiError::DatabaseAway { source, .. }) => {
            let found = runs::response(&app.pool, post.user_id, post.run_id);
            match tokio::time::timeout(Duration::from_millis(400), found).await {
                Ok(Ok(Some(_))) => Ok(Posted::Stored),
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
async fn write(app: &App, post: &Post) -> Result<Posted, sqlx::Error> {
    if !post.reject_if_running {
        return app.posts.write(post.clone()).await;
    }
    let max_open = i64::from(app.settings.chat.max_open_runs_per_user);
    let alone = posts::store(&app.pool, std::slice::from_ref(post), max_open).await?;
    alone.into_iter().next().ok_or(sqlx::Error::RowNotFound)
}

/// Waits until the run ends, begins to wait for its user, the patience does, or the process stops; gives the run as far as
/// it has come. `seen` is the epoch in which it was seen: a run that was parked by then does not end the wait.
async fn wait_out(
    app: &App,
    mut wait: Wait,
    patience: Duration,
    user_id: Uuid,
    so_far: ChatResponse,
    mut seen: i32,
) -> Result<Told, ApiError> {
    if patience.is_zero() {
        return Ok(so_far.into());
    }
    let until = Instant::now() + patience;
    loop {
        let waiting = wait.change(seen).instrument(errand_traces::trace!("wait"));
        let change = tokio::select! {
            change = waiting => Some(change),
            () = tokio::time::sleep_until(until) => None,
            () = app.lifecycle.stopped() => None,
        };
        let is_over = match change {
            Some(Change::Ended(Outcome::Final(end))) => {
                let end = Arc::unwrap_or_clone(end);
                return Ok(Told {
                    run: end.response,
                    timing: end.timing,
                });
            }
            Some(Change::Ended(Outcome::Gone)) => return Err(gone()),
            Some(Change::Parked) => false,
            None => true,
        };
        // Whoever waited in vain is told how far it has come; with Postgres away, how far it had.
        let now = match app.database(runs::view(&app.pool, user_id, so_far.run_id)).await {
            Ok(now) => now.ok_or_else(gone)?,
            Err(ApiError::DatabaseAway { .. }) => return Ok(so_far.into()),
            Err(error) => return Err(error),
        };
        // Parked and decided in no time: it goes on.
        let goes_on = matches!(now.response.status, RunStatus::Queued | RunStatus::Running);
        if is_over || !goes_on {
            return Ok(now.into());
        }
        seen = now.epoch;
    }
}

/// 404 for a conversation.
pub(crate) fn no_conversation(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("Conversation {id} not found"))
}

/// 404 for a run.
pub(crate) fn no_run(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("Run {id} not found"))
}

fn gone() -> ApiError {
    ApiError::NotFound("The conversation of this message was deleted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str, key: Option<&str>) -> Option<String> {
        match NewMessage::new(Uuid::nil(), text.to_owned(), None, IfRunning::Queue, key) {
            Ok(_) => None,
            Err(ApiError::Invalid(errors)) => Some(errors[0].field.clone()),
            Err(other) => Some(other.to_string()),
        }
    }

    #[test]
    fn a_message_has_1_to_2000_characters_that_are_not_all_white_space() {
        let message = Some("message".to_owned());
        assert_eq!(refusal("hi", None), None);
        assert_eq!(refusal(&"🦀".repeat(2000), None), None);
        assert_eq!(refusal(&"🦀".repeat(2001), None), message);
        assert_eq!(refusal("", None), message);
        assert_eq!(refusal(" \n\u{3000}", None), message);
        assert_eq!(refusal("a\0b", None), message);
    }

    #[test]
    fn a_key_has_1_to_255_printable_characters() {
        let key = Some("Idempotency-Key".to_owned());
        assert_eq!(refusal("hi", Some("a b")), None);
        assert_eq!(refusal("hi", Some(&"k".repeat(255))), None);
        assert_eq!(refusal("hi", Some(&"k".repeat(256))), key);
        assert_eq!(refusal("hi", Some("")), key);
        assert_eq!(refusal("hi", Some("a\tb")), key);
    }

    #[test]
    fn an_agent_is_chosen_by_the_first_message_and_is_one_of_its_fields() {
        let agents = Agents::default();
        let message = |conversation_id, agent: Option<&str>| {
            NewMessage::new(
                Uuid::nil(),
                "hi".to_owned(),
                conversation_id,
                IfRunning::Queue,
                Some("k"),
            )
            .and_then(|message| message.with_agent(agent.map(str::to_owned), &agents))
        };
        let todo = message(None, Some("todo")).unwrap();
        let default = message(None, None).unwrap();
        assert_eq!(todo.agent.as_deref(), Some("todo"));
        assert_eq!(default.agent, None);
        assert_ne!(todo.key, default.key);
        assert!(message(Some(Uuid::nil()), None).is_ok());
        for (conversation_id, agent) in [(Some(Uuid::nil()), "todo"), (None, "nobody"), (None, "")] {
            let refused = message(conversation_id, Some(agent));
            assert!(
                matches!(refused, Err(ApiError::Invalid(errors)) if errors[0].field == "agent"),
                "{agent}"
            );
        }
    }

    #[test]
    fn fingerprints_tell_fields_apart() {
        let id = Uuid::now_v7();
        let plain = |text, id| fingerprint(text, id, IfRunning::Queue);
        assert_eq!(plain("a", None), plain("a", None));
        assert_ne!(plain("a", None), plain("b", None));
        assert_ne!(plain("a", None), plain("a", Some(id)));
        assert_ne!(plain("a", None), fingerprint("a", None, IfRunning::Reject));
    }
}
