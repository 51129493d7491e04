//! One WebSocket: the events of all of a user's runs, and what the user asks for.
//!
//! One thing after the other, so that what is sent is never more than one event ahead of what the client reads: a client
//! that does not read loses its place among the readers and is sent away.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use errand_shared::{Uuid, domain::events::queued_seq};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tracing::Instrument;

use super::{
    Delivery, LiveEvent, RunSubscription, Subscription,
    frame::{self, Answer, Request},
};
use crate::{
    auth::Identity,
    chat::{self, Accepted, NewMessage, approve, cancel},
    http::{error::ApiError, request_id::RequestId},
    state::App,
};

/// Close codes: the process stops, the client does not keep to the protocol, is too slow, has a token that has expired.
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const TRY_AGAIN_LATER: u16 = 1013;
const TOKEN_EXPIRED: u16 = 4401;

/// How long a client may take to close after it was told to.
const FAREWELL: Duration = Duration::from_secs(5);
/// Runs followed at once, at most.
const MOST_FOLLOWED: usize = 1000;
/// Ended runs that are remembered, so that no late news of them is told again.
const REMEMBERED: usize = 64;

/// Why a socket ends.
enum End {
    /// The client has closed it, or is gone.
    Closed,
    /// It is told why.
    With(u16, &'static str),
}

/// A WebSocket being served.
pub(crate) struct Socket {
    app: App,
    user_id: Uuid,
    /// The handshake.
    request_id: RequestId,
    wire: WebSocket,
    reading: Subscription,
    runs: HashMap<Uuid, RunSubscription>,
    /// The last ended runs, oldest first, with the numbers of their final events.
    ended: VecDeque<(Uuid, i64)>,
}

/// Serves a socket until it ends.
pub(crate) async fn serve(app: App, identity: Identity, request_id: RequestId, socket: WebSocket) {
    let reading = super::begin(&app, identity.user_id).await;
    // Of runs that are under way, their text so far is due.
    app.notifier
        .send_command(errand_shared::signals::wire::WorkerCommand::Subscribe(
            identity.user_id,
        ));
    let left = (identity.expires_at - app.clock.now())
        .to_std()
        .unwrap_or_default();
    let mut socket = Socket {
        app,
        user_id: identity.user_id,
        request_id,
        wire: socket,
        reading,
        runs: HashMap::new(),
        ended: VecDeque::new(),
    };
    if let End::With(code, reason) = socket.run(Instant::now() + left).await {
        socket.close(code, reason).await;
    }
}

impl Socket {
    async fn run(&mut self, expires: Instant) -> End {
        let settings = &self.app.settings.live;
        let distance = settings.ws_ping_seconds;
        let longest_silence = distance + settings.ws_pong_timeout_seconds;
        let mut pings = interval_at(Instant::now() + distance, distance);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let stopping = self.app.lifecycle.token();
        loop {
            let done = tokio::select! {
                message = self.wire.recv() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(message)) => self.take(message).await,
                        // Broken, against the protocol, or too large: perhaps there is still somebody to tell.
                        Some(Err(_)) => return End::With(PROTOCOL_ERROR, "not a frame that is taken here"),
                        None => return End::Closed,
                    }
                }
                live = self.reading.next() => match live {
                    Some(live) => self.tell(live).await,
                    None => return End::With(TRY_AGAIN_LATER, "too slow"),
                },
                _ = pings.tick() => {
                    if heard.elapsed() > longest_silence {
                        return End::Closed;
                    }
                    self.send(Message::Ping(axum::body::Bytes::new())).await
                }
                () = sleep_until(expires) => return End::With(TOKEN_EXPIRED, "the token has expired"),
                () = stopping.cancelled() => return End::With(GOING_AWAY, "the server stops"),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Does what the client says.
    async fn take(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                let error = ApiError::BadRequest("Frames must be text.".to_owned());
                return self.refuse(None, error).await;
            }
            // The library answers both.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return Ok(()),
        };
        let (id, request) = frame::read(&text);
        let done = match request {
            Ok(request) => self.heed(request).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(frames) => self.send_all(frames).await,
            Err(error) => self.refuse(id.as_deref(), error).await,
        }
    }

    /// Does what is asked; gives what is to be sent for it.
    async fn heed(&mut self, request: Request) -> Result<Vec<Utf8Bytes>, ApiError> {
        match request {
            Request::Chat {
                id,
                message,
                conversation_id,
                idempotency_key,
                if_running,
                agent,
            } => {
                let key = idempotency_key.as_deref();
                let message = NewMessage::new(self.user_id, message, conversation_id, if_running, key)?
                    .with_agent(agent, &self.app.agents)?
                    .brought_by(&self.request_id);
                let span = errand_shared::trace!("chat", otel.name = "WebSocket chat", otel.kind = "server");
                self.chat(&id, message).instrument(span).await
            }
            Request::Subscribe { run_id, after_seq } => {
                let after = after_seq.unwrap_or(0);
                if after < 0 {
                    return Err(ApiError::invalid("after_seq", "must be the number of an event"));
                }
                self.follow(run_id, after).await.map(texts)
            }
            Request::Cancel { run_id } => {
                cancel::cancel(&self.app, self.user_id, run_id).await?;
                Ok(Vec::new())
            }
            Request::Approve {
                run_id,
                tool_call_id,
                approve,
            } => {
                approve::decide(&self.app, self.user_id, run_id, &tool_call_id, approve).await?;
                Ok(Vec::new())
            }
            Request::Ping {} => Ok(vec![text(&Answer::Pong {})?]),
        }
    }

    async fn chat(&mut self, id: &str, message: NewMessage) -> Result<Vec<Utf8Bytes>, ApiError> {
        let accepted = |run_id, conversation_id| {
            text(&Answer::Accepted {
                id,
                run_id,
                conversation_id,
            })
        };
        match chat::post(&self.app, message).await? {
            Accepted::Fresh(run, wait) => {
                let (follow, queued) = RunSubscription::fresh(&self.app, self.user_id, &run, wait)?;
                self.runs.insert(run.run_id, follow);
                Ok(vec![
                    accepted(run.run_id, run.conversation_id)?,
                    queued.json.clone(),
                ])
            }
            Accepted::Known(run_id) => {
                let conversation_id = chat::conversation_of(&self.app, self.user_id, run_id).await?;
                let mut frames = vec![accepted(run_id, conversation_id)?];
                if !self.runs.contains_key(&run_id) {
                    frames.extend(texts(self.follow(run_id, 0).await?));
                }
                Ok(frames)
            }
        }
    }

    /// Follows a run from an event on, also if it was followed before.
    async fn follow(&mut self, run_id: Uuid, after: i64) -> Result<Vec<Arc<LiveEvent>>, ApiError> {
        if self.runs.len() >= MOST_FOLLOWED && !self.runs.contains_key(&run_id) {
            return Err(ApiError::TooMany {
                detail: "Too many runs are followed here; wait for some of them.",
                retry_after: Duration::from_secs(1),
            });
        }
        let Some((follow, events)) = RunSubscription::begin(&self.app, self.user_id, run_id, after).await?
        else {
            return Ok(Vec::new());
        };
        self.runs.insert(run_id, follow);
        self.let_go(run_id);
        Ok(events)
    }

    /// Passes on what happened.
    async fn tell(&mut self, live: Delivery) -> Result<(), End> {
        match live {
            Delivery::Event(event) => {
                let events = self.admitted(event).await;
                self.send_all(texts(events)).await
            }
            Delivery::Gone(run_id) => {
                let now = self.app.clock.now();
                let last = self.runs.get_mut(&run_id).and_then(|follow| follow.gone(now));
                self.let_go(run_id);
                self.send_all(texts(last)).await
            }
            Delivery::Resync => {
                let followed: Vec<_> = self.runs.keys().copied().collect();
                for run_id in followed {
                    let Some(follow) = self.runs.get_mut(&run_id) else {
                        continue;
                    };
                    let missed = follow.catch_up(&self.app).await;
                    self.let_go(run_id);
                    match missed {
                        Ok(events) => self.send_all(texts(events)).await?,
                        Err(error) => {
                            tracing::debug!(%error, "a socket is sent away to come back");
                            return Err(End::With(TRY_AGAIN_LATER, "some events were missed"));
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// What is to be told of an event: itself, and of a run that was not known here all that was before.
    async fn admitted(&mut self, event: Arc<LiveEvent>) -> Vec<Arc<LiveEvent>> {
        let run_id = event.run_id;
        if let Entry::Occupied(mut known) = self.runs.entry(run_id) {
            let follow = known.get_mut();
            let reply = if follow.lacks_reply(&event) {
                follow.catch_up(&self.app).await.ok()
            } else {
                None
            };
            let told = reply.unwrap_or_else(|| follow.admits(&event).then_some(event).into_iter().collect());
            self.let_go(run_id);
            return told;
        }
        let seen = self.ended.iter().rev().find(|(ended, _)| *ended == run_id);
        let after = seen.map_or(0, |(_, seq)| *seq);
        if event.seq <= after {
            return Vec::new();
        }
        if event.seq != queued_seq(0) {
            match self.follow(run_id, after).await {
                Ok(events) => return events,
                Err(error) => tracing::debug!(%error, run.id = %run_id, "a run is told from its middle"),
            }
        }
        if let Some(follow) = RunSubscription::from_here(&self.app, self.user_id, &event)
            && self.runs.len() < MOST_FOLLOWED
        {
            self.runs.insert(run_id, follow);
        }
        vec![event]
    }

    /// Lets go of a run that has had its last word.
    fn let_go(&mut self, run_id: Uuid) {
        let Entry::Occupied(follow) = self.runs.entry(run_id) else {
            return;
        };
        if follow.get().has_ended() {
            let last = follow.remove().last();
            if self.ended.len() >= REMEMBERED {
                self.ended.pop_front();
            }
            self.ended.push_back((run_id, last));
        }
    }

    async fn refuse(&mut self, id: Option<&str>, error: ApiError) -> Result<(), End> {
        let mut problem = error.problem();
        problem.retry_after = error.retry_after();
        if problem.status >= 500 {
            tracing::error!(%error, status = problem.status, "a frame could not be heeded");
        }
        match text(&Answer::Error { id, problem }) {
            Ok(frame) => self.send(Message::Text(frame)).await,
            Err(error) => {
                tracing::error!(%error, "a problem could not be written");
                Ok(())
            }
        }
    }

    async fn send_all(&mut self, frames: Vec<Utf8Bytes>) -> Result<(), End> {
        for frame in frames {
            self.send(Message::Text(frame)).await?;
        }
        Ok(())
    }

    /// A client that takes nothing for so long is gone.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        let patience = self.app.settings.live.ws_pong_timeout_seconds;
        match timeout(patience, self.wire.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Closed),
        }
    }

    /// Says why, and reads on until the client has closed as well.
    async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        if self.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        let closed = async { while let Some(Ok(_)) = self.wire.recv().await {} };
        if timeout(FAREWELL, closed).await.is_err() {
            tracing::debug!("a client did not close in time");
        }
    }
}

fn text(answer: &Answer<'_>) -> Result<Utf8Bytes, ApiError> {
    serde_json::to_string(answer)
        .map(Utf8Bytes::from)
        .map_err(ApiError::internal)
}

fn texts(events: impl IntoIterator<Item = Arc<LiveEvent>>) -> Vec<Utf8Bytes> {
    events.into_iter().map(|event| event.json.clone()).collect()
}
