//! A client that trusts only responses: it sends each message under one idempotency key until it knows the run, and
//! follows the run to its end.

use std::{sync::Arc, time::Duration};

use errand_devstack::client::{self, Account, Client as Api, Request, RequestError, StatusCode};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    Result,
    record::{Record, Sent},
};

/// The pause between two attempts.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
/// How many seconds a read of a run waits for its end.
const WAIT_SECONDS: u64 = 10;
/// The longest silence of a healthy API: more than the interval of comments in a stream (15 s), and more than any wait.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(35);
/// The time limit of a request that waits for nothing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A user who can chat.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) account: Account,
}

/// How a message is sent the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendMode {
    /// Waits for the answer.
    Wait,
    /// Does not wait.
    Async,
    /// Breaks the connection after this number of milliseconds.
    HangUp(u64),
    /// Sends the message through both APIs at the same time.
    Twins,
    /// Asks for an event stream.
    Events,
}

/// What a response says about a run.
enum Outcome {
    /// The run has finished.
    Finished(Value),
    /// The run is open.
    Open(Value),
    /// Nothing.
    Unknown,
}

/// A client of both APIs.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    apis: Vec<Api>,
    /// How long it may take until a message is accepted, and then until it is answered, despite any fault.
    pub(crate) timeout: Duration,
    pub(crate) record: Arc<Record>,
}

impl Client {
    pub(crate) fn new(ports: &[u16], record: Arc<Record>, timeout: Duration) -> Self {
        Self {
            apis: ports.iter().map(|port| Api::new(*port)).collect(),
            timeout,
            record,
        }
    }

    /// One of the APIs; any number is valid.
    pub(crate) fn api(&self, number: usize) -> Api {
        let index = number % self.apis.len().max(1);
        self.apis.get(index).copied().unwrap_or_else(|| Api::new(0))
    }

    /// Whether an API is ready.
    pub(crate) async fn is_ready(&self, api: usize) -> bool {
        self.api(api).is_ready().await
    }

    /// Registers a user.
    pub(crate) async fn register(&self, number: usize) -> Result<User> {
        let request = client::register(
            &format!("user-{number}@example.com"),
            "correct horse battery staple",
            &format!("User {number}"),
        );
        let answer = self.api(0).send(request).await?;
        let account = Account::from_answer(&answer).ok_or_else(|| answer.problem())?;
        Ok(User {
            id: account.id.parse()?,
            account,
        })
    }

    /// Sends a message until its run is known. Returns false if that took too long, which is a violation.
    pub(crate) async fn deliver(&self, user: &User, sent: &mut Sent, api: usize, mode: SendMode) -> bool {
        let began = Instant::now();
        let mut api = api;
        if mode == SendMode::Twins {
            let (mut one, mut other) = (sent.clone(), sent.clone());
            tokio::join!(
                self.try_once(user, &mut one, api, SendMode::Async),
                self.try_once(user, &mut other, api + 1, SendMode::Async)
            );
            for twin in [one, other] {
                if let Some(run) = twin.run {
                    self.note_run(sent, run, twin.conversation);
                }
            }
        } else {
            self.try_once(user, sent, api, mode).await;
        }
        let next_mode = if mode == SendMode::Async {
            mode
        } else {
            SendMode::Wait
        };
        while sent.run.is_none() {
            if began.elapsed() > self.timeout {
                self.record
                    .violation("every message is accepted eventually", &sent.text);
                return false;
            }
            sleep(PAUSE).await;
            api += 1;
            self.try_once(user, sent, api, next_mode).await;
        }
        true
    }

    /// Sends a message through one API until it is answered or `timeout` has elapsed.
    pub(crate) async fn send_until_answered(
        &self,
        user: &User,
        sent: &mut Sent,
        api: usize,
        timeout: Duration,
    ) {
        let began = Instant::now();
        while sent.answer.is_none() && began.elapsed() < timeout {
            self.try_once(user, sent, api, SendMode::Wait).await;
            if sent.answer.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    /// Sends a message once and records what the response says.
    async fn try_once(&self, user: &User, sent: &mut Sent, api: usize, mode: SendMode) {
        let body = json!({"message": sent.text, "conversation_id": sent.requested_conversation(),
            "agent": sent.agent.filter(|_| sent.position == 0)});
        let request = user.account.chat(&body).header("idempotency-key", &sent.key);
        let request = match mode {
            SendMode::Wait => request
                .header("prefer", "wait=20")
                .timeout(Duration::from_secs(30)),
            SendMode::HangUp(after) => request
                .header("prefer", "wait=20")
                .timeout(Duration::from_millis(after)),
            SendMode::Async | SendMode::Twins => {
                request.header("prefer", "respond-async").timeout(REQUEST_TIMEOUT)
            }
            SendMode::Events => {
                let request = request.header("accept", "text/event-stream").timeout(MAX_SILENCE);
                if let Ok(stream) = self.api(api).open_stream(request).await
                    && stream.status == StatusCode::OK
                {
                    self.read(user, sent, stream).await;
                }
                return;
            }
        };
        let must_answer = !matches!(mode, SendMode::HangUp(_));
        match self.ask(request, api, &sent.text, must_answer).await {
            Outcome::Finished(body) => {
                self.note(sent, &body);
                sent.answer = Some(body);
            }
            Outcome::Open(body) => self.note(sent, &body),
            Outcome::Unknown => {}
        }
    }

    /// Reads the run until it has finished. Returns false if that took too long, which is a violation.
    pub(crate) async fn follow(&self, user: &User, sent: &mut Sent, api: usize) -> bool {
        let Some(run) = sent.run else { return false };
        let began = Instant::now();
        let mut api = api;
        while sent.answer.is_none() {
            if began.elapsed() > self.timeout {
                self.record
                    .violation("a client learns the end of its run", run.to_string());
                return false;
            }
            let request = user
                .account
                .get_run(&run.to_string(), WAIT_SECONDS)
                .timeout(Duration::from_secs(WAIT_SECONDS + 10));
            match self.ask(request, api, &run.to_string(), true).await {
                Outcome::Finished(body) => {
                    self.note(sent, &body);
                    sent.answer = Some(body);
                }
                Outcome::Open(body) => {
                    self.note(sent, &body);
                    let approvals = body.get("approvals").and_then(Value::as_array);
                    for call in approvals.into_iter().flatten() {
                        self.approve(user, run, call, api).await;
                    }
                }
                Outcome::Unknown => sleep(PAUSE).await,
            }
            api += 1;
        }
        true
    }

    /// Approves a tool call; repeats the request until a response says that the call is no longer pending.
    pub(crate) async fn approve(&self, user: &User, run: Uuid, call: &Value, api: usize) {
        let id = call
            .get("tool_call_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let began = Instant::now();
        for api in api.. {
            let request = user
                .account
                .decide(&run.to_string(), id, true)
                .timeout(REQUEST_TIMEOUT);
            match self.api(api).send(request).await.map(|answer| answer.status) {
                // Approved now, by an earlier attempt whose answer was lost, or no longer pending after a cancellation.
                Ok(StatusCode::OK | StatusCode::ACCEPTED | StatusCode::CONFLICT) => return,
                Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(_) => {}
                Ok(status) => {
                    let detail = format!("{status} for the approval of {id} of {run}");
                    self.record
                        .violation("every response follows the API contract", detail);
                }
            }
            if began.elapsed() > self.timeout {
                self.record
                    .violation("every approval is accepted eventually", run.to_string());
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Cancels the run.
    pub(crate) async fn cancel(&self, user: &User, sent: &mut Sent, api: usize) {
        let Some(run) = sent.run else { return };
        sent.cancel_requested = true;
        let request = user.account.cancel(&run.to_string()).timeout(REQUEST_TIMEOUT);
        // 200 says that the run had finished before.
        if let Outcome::Open(_) = self.ask(request, api, &run.to_string(), true).await {
            sent.cancel_accepted = true;
        }
    }

    /// Retries a run that did not succeed; repeats the request until it is accepted or refused, so that later responses
    /// are about the new attempt. It may be refused because an earlier acceptance was lost, or because the run is not
    /// the last of its conversation.
    pub(crate) async fn retry(&self, user: &User, sent: &mut Sent, api: usize) {
        let Some(run) = sent.run else { return };
        let began = Instant::now();
        for api in api.. {
            let request = user.account.retry(&run.to_string()).timeout(REQUEST_TIMEOUT);
            let status = self.api(api).send(request).await.map(|answer| answer.status);
            if matches!(status, Ok(StatusCode::ACCEPTED | StatusCode::CONFLICT))
                || began.elapsed() > self.timeout
            {
                break;
            }
            sleep(PAUSE).await;
        }
        sent.answer = None;
        sent.cancel_accepted = false;
    }

    /// Reads another user's run, under both users' paths. Both must be refused.
    pub(crate) async fn read_foreign_run(&self, user: &User, run: Uuid, owner: Uuid, api: usize) {
        for (path_owner, expected) in [(user.id, StatusCode::NOT_FOUND), (owner, StatusCode::FORBIDDEN)] {
            let request = user
                .account
                .get_run_of(&path_owner.to_string(), &run.to_string())
                .timeout(Duration::from_secs(10));
            if let Ok(answer) = self.api(api).send(request).await {
                let status = answer.status;
                if status != expected && status != StatusCode::SERVICE_UNAVAILABLE {
                    let detail = format!("{run} by {}: {status}", user.id);
                    self.record.violation("users see only their own runs", detail);
                }
            }
        }
    }

    async fn ask(&self, request: Request, api: usize, what: &str, must_answer: bool) -> Outcome {
        let id = Uuid::now_v7();
        let line = request.line();
        let result = self.api(api).send(request.header("x-request-id", id)).await;
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                // A killed process breaks its connections, and a running one answers: the time limit of every request
                // is longer than its wait plus the time that Postgres may take.
                if must_answer && matches!(error, RequestError::TimedOut) {
                    self.record.violation(
                        "a request is answered or its connection breaks",
                        format!("request {id}: {line}"),
                    );
                }
                return Outcome::Unknown;
            }
        };
        let body = answer.json();
        if body.is_null() {
            return Outcome::Unknown;
        }
        let state = body.get("status").and_then(Value::as_str);
        match (answer.status, state) {
            (StatusCode::OK, Some("succeeded" | "failed" | "cancelled"))
            | (StatusCode::BAD_GATEWAY, Some("failed"))
            | (StatusCode::CONFLICT, Some("cancelled")) => Outcome::Finished(body),
            (StatusCode::ACCEPTED, _) => Outcome::Open(body),
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => Outcome::Unknown,
            (status, _) => {
                self.record.violation(
                    "every response follows the API contract",
                    format!("{status} for {what}: {body}"),
                );
                Outcome::Unknown
            }
        }
    }

    /// Records the run and conversation in a response.
    pub(crate) fn note(&self, sent: &mut Sent, body: &Value) {
        let id = |name: &str| {
            body.get(name)
                .and_then(Value::as_str)
                .and_then(|id| id.parse().ok())
        };
        if let Some(run) = id("run_id") {
            self.note_run(sent, run, id("conversation_id"));
        }
    }

    fn note_run(&self, sent: &mut Sent, run: Uuid, conversation: Option<Uuid>) {
        if sent.run.is_some_and(|before| before != run) {
            self.record.violation(
                "an idempotency key has one run",
                format!("{} has {run} and {:?}", sent.key, sent.run),
            );
        }
        if sent.conversation.is_some() && conversation != sent.conversation {
            self.record
                .violation("a run stays in its conversation", run.to_string());
        }
        sent.run.get_or_insert(run);
        sent.conversation = sent.conversation.or(conversation);
    }
}

impl Sent {
    /// The conversation in the request; `None` for the first message of a conversation.
    fn requested_conversation(&self) -> Option<Uuid> {
        if self.position == 0 {
            None
        } else {
            self.conversation
        }
    }
}
