//! Serves one WebSocket: sends the events of all runs of a user and handles the user's requests.
//!
//! Frames are sent one after another, so at most one event waits for the client. A client that stops reading falls behind in
//! the subscription and is disconnected.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use errand_shared::{Uuid, domain::events::queued_seq, signals::wire::WorkerCommand};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tracing::Instrument;

use super::{
    event::LiveEvent,
    frame::{self, Answer, Request},
    run_subscription::RunSubscription,
    state::LiveState,
    stream::subscribe,
    subscribers::{Delivery, Subscription},
};
use crate::{
    auth::Identity,
    chat::{self, Accepted, NewMessage, approve, cancel},
    http::{error::ApiError, request_id::RequestId},
};

/// Close code: the process shuts down.
const GOING_AWAY: u16 = 1001;
/// Close code: the client sent an invalid frame.
const PROTOCOL_ERROR: u16 = 1002;
/// Close code: the client is too slow or missed events.
const TRY_AGAIN_LATER: u16 = 1013;
/// Close code: the token has expired.
const TOKEN_EXPIRED: u16 = 4401;

/// How long to wait for the close frame of the client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum number of subscribed runs.
const MAX_RUNS: usize = 1000;
/// The number of finished runs to remember, so that their delayed events are not sent again.
const MAX_FINISHED: usize = 64;

/// Why a socket ends.
enum End {
    /// The client closed it or is unreachable.
    Closed,
    /// The server closes it with this code and reason.
    Close(u16, &'static str),
}

/// An open WebSocket.
pub(crate) struct Socket {
    live: LiveState,
    user_id: Uuid,
    /// The request of the handshake.
    request_id: RequestId,
    stream: WebSocket,
    events: Subscription,
    runs: HashMap<Uuid, RunSubscription>,
    /// The last finished runs, oldest first, with the numbers of their final events.
    finished: VecDeque<(Uuid, i64)>,
}

/// Serves a WebSocket until it is closed.
pub(crate) async fn serve(live: LiveState, identity: Identity, request_id: RequestId, socket: WebSocket) {
    let events = subscribe(&live, identity.user_id).await;
    // The workers then publish the current text of running runs.
    let command = WorkerCommand::Subscribe(identity.user_id);
    live.chat.notifier.send_command(command);
    let time_left = (identity.expires_at - live.chat.clock.now())
        .to_std()
        .unwrap_or_default();
    let mut socket = Socket {
        live,
        user_id: identity.user_id,
        request_id,
        stream: socket,
        events,
        runs: HashMap::new(),
        finished: VecDeque::new(),
    };
    if let End::Close(code, reason) = socket.run(Instant::now() + time_left).await {
        socket.close(code, reason).await;
    }
}

impl Socket {
    async fn run(&mut self, expires: Instant) -> End {
        let settings = &self.live.settings;
        let interval = settings.ws_ping_seconds;
        let max_silence = interval + settings.ws_pong_timeout_seconds;
        let mut pings = interval_at(Instant::now() + interval, interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_received = Instant::now();
        let stopping = self.live.chat.lifecycle.token();
        loop {
            let done = tokio::select! {
                message = self.stream.recv() => {
                    last_received = Instant::now();
                    match message {
                        Some(Ok(message)) => self.on_message(message).await,
                        // Malformed or too large. The client may still receive the reason.
                        Some(Err(_)) => return End::Close(PROTOCOL_ERROR, "invalid frame"),
                        None => return End::Closed,
                    }
                }
                delivery = self.events.next() => match delivery {
                    Some(delivery) => self.on_delivery(delivery).await,
                    None => return End::Close(TRY_AGAIN_LATER, "too slow"),
                },
                _ = pings.tick() => {
                    if last_received.elapsed() > max_silence {
                        return End::Closed;
                    }
                    self.send(Message::Ping(axum::body::Bytes::new())).await
                }
                () = sleep_until(expires) => return End::Close(TOKEN_EXPIRED, "the token has expired"),
                () = stopping.cancelled() => return End::Close(GOING_AWAY, "the server is shutting down"),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                let error = ApiError::BadRequest("Frames must be text.".to_owned());
                return self.send_error(None, error).await;
            }
            // The library answers pings and close frames.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return Ok(()),
        };
        let (id, request) = frame::parse(&text);
        let done = match request {
            Ok(request) => self.handle_request(request).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(frames) => self.send_all(frames).await,
            Err(error) => self.send_error(id.as_deref(), error).await,
        }
    }

    /// Handles a request and returns the frames to send.
    async fn handle_request(&mut self, request: Request) -> Result<Vec<Utf8Bytes>, ApiError> {
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
                    .with_agent(agent, &self.live.chat.agents)?
                    .with_request_id(&self.request_id);
                let span = errand_shared::trace!("chat", otel.name = "WebSocket chat", otel.kind = "server");
                self.chat(&id, message).instrument(span).await
            }
            Request::Subscribe { run_id, after_seq } => {
                let after = after_seq.unwrap_or(0);
                if after < 0 {
                    return Err(ApiError::invalid("after_seq", "must be the number of an event"));
                }
                self.subscribe(run_id, after).await.map(texts)
            }
            Request::Cancel { run_id } => {
                cancel::cancel(&self.live.chat, self.user_id, run_id).await?;
                Ok(Vec::new())
            }
            Request::Approve {
                run_id,
                tool_call_id,
                approve,
            } => {
                approve::decide(&self.live.chat, self.user_id, run_id, &tool_call_id, approve).await?;
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
        match chat::accept(&self.live.chat, message).await? {
            Accepted::New(run, wait) => {
                let (subscription, queued) =
                    RunSubscription::for_new_run(&self.live, self.user_id, &run, wait)?;
                self.runs.insert(run.run_id, subscription);
                Ok(vec![
                    accepted(run.run_id, run.conversation_id)?,
                    queued.json.clone(),
                ])
            }
            Accepted::Existing(run_id) => {
                let conversation_id = chat::conversation_of(&self.live.chat, self.user_id, run_id).await?;
                let mut frames = vec![accepted(run_id, conversation_id)?];
                if !self.runs.contains_key(&run_id) {
                    frames.extend(texts(self.subscribe(run_id, 0).await?));
                }
                Ok(frames)
            }
        }
    }

    /// Subscribes to a run after event number `after`. Replaces an earlier subscription to it.
    async fn subscribe(&mut self, run_id: Uuid, after: i64) -> Result<Vec<Arc<LiveEvent>>, ApiError> {
        if self.runs.len() >= MAX_RUNS && !self.runs.contains_key(&run_id) {
            return Err(ApiError::TooMany {
                detail: "This WebSocket is subscribed to too many runs; wait until some are finished.",
                retry_after: Duration::from_secs(1),
            });
        }
        let Some((subscription, events)) =
            RunSubscription::resume(&self.live, self.user_id, run_id, after).await?
        else {
            return Ok(Vec::new());
        };
        self.runs.insert(run_id, subscription);
        self.remove_if_finished(run_id);
        Ok(events)
    }

    async fn on_delivery(&mut self, delivery: Delivery) -> Result<(), End> {
        match delivery {
            Delivery::Event(event) => {
                let events = self.events_to_send(event).await;
                self.send_all(texts(events)).await
            }
            Delivery::Deleted(run_id) => {
                let now = self.live.chat.clock.now();
                let last = self.runs.get_mut(&run_id).and_then(|run| run.deleted(now));
                self.remove_if_finished(run_id);
                self.send_all(texts(last)).await
            }
            Delivery::Resync => {
                let run_ids: Vec<_> = self.runs.keys().copied().collect();
                for run_id in run_ids {
                    let Some(run) = self.runs.get_mut(&run_id) else {
                        continue;
                    };
                    let missed = run.catch_up(&self.live).await;
                    self.remove_if_finished(run_id);
                    match missed {
                        Ok(events) => self.send_all(texts(events)).await?,
                        Err(error) => {
                            tracing::debug!(%error, "cannot read the missed events; closing the WebSocket");
                            return Err(End::Close(TRY_AGAIN_LATER, "some events were missed"));
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// The event itself. For a run that was not subscribed yet, all its earlier events come first.
    async fn events_to_send(&mut self, event: Arc<LiveEvent>) -> Vec<Arc<LiveEvent>> {
        let run_id = event.run_id;
        if let Entry::Occupied(mut entry) = self.runs.entry(run_id) {
            let run = entry.get_mut();
            let with_reply = if run.is_missing_reply(&event) {
                run.catch_up(&self.live).await.ok()
            } else {
                None
            };
            let events =
                with_reply.unwrap_or_else(|| run.accept(&event).then_some(event).into_iter().collect());
            self.remove_if_finished(run_id);
            return events;
        }
        let finished = self.finished.iter().rev().find(|(id, _)| *id == run_id);
        let after = finished.map_or(0, |(_, seq)| *seq);
        if event.seq <= after {
            return Vec::new();
        }
        if event.seq != queued_seq(0) {
            match self.subscribe(run_id, after).await {
                Ok(events) => return events,
                Err(error) => {
                    tracing::debug!(%error, run.id = %run_id, "cannot read the earlier events of a run");
                }
            }
        }
        if let Some(run) = RunSubscription::starting_with(&self.live, self.user_id, &event)
            && self.runs.len() < MAX_RUNS
        {
            self.runs.insert(run_id, run);
        }
        vec![event]
    }

    fn remove_if_finished(&mut self, run_id: Uuid) {
        let Entry::Occupied(entry) = self.runs.entry(run_id) else {
            return;
        };
        if entry.get().has_ended() {
            let last = entry.remove().last();
            if self.finished.len() >= MAX_FINISHED {
                self.finished.pop_front();
            }
            self.finished.push_back((run_id, last));
        }
    }

    async fn send_error(&mut self, id: Option<&str>, error: ApiError) -> Result<(), End> {
        let mut problem = error.problem();
        problem.retry_after = error.retry_after();
        if problem.status >= 500 {
            tracing::error!(%error, status = problem.status, "cannot handle a frame");
        }
        match text(&Answer::Error { id, problem }) {
            Ok(frame) => self.send(Message::Text(frame)).await,
            Err(error) => {
                tracing::error!(%error, "cannot serialize a problem");
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

    /// A client that does not accept a frame within the pong time-out is considered disconnected.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        let limit = self.live.settings.ws_pong_timeout_seconds;
        match timeout(limit, self.stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Closed),
        }
    }

    /// Sends a close frame and waits for that of the client.
    async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        if self.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        let closed = async { while let Some(Ok(_)) = self.stream.recv().await {} };
        if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::debug!("client did not close in time");
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
