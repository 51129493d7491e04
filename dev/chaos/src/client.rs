//! A client that believes only what it is told: it sends each message under one key until it knows the run, and follows
//! the run to its end.

use std::{sync::Arc, time::Duration};

use errand_shared::Uuid;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Result,
    record::{Record, Sent},
};

/// Between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
/// Seconds that a look at a run waits.
const LOOK: u64 = 10;
/// The longest silence in an answer: more than the time between two comments in a stream (15 s), more than any wait.
const SILENCE: Duration = Duration::from_secs(35);

/// Somebody who may chat.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// Who.
    pub(crate) id: Uuid,
    token: String,
}

/// How a message is sent the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Waits for the answer.
    Wait,
    /// Waits for nothing.
    Async,
    /// Hangs up after so many milliseconds.
    HangUp(u64),
    /// Sends it through both APIs at once.
    Twins,
    /// Asks for the events in place of the answer.
    Events,
}

/// What one request came to.
enum Told {
    /// The run has ended.
    Ended(Value),
    /// The run is open.
    Open(Value),
    /// Nothing is known.
    Nothing,
}

/// The way to the APIs.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    apis: Vec<String>,
    /// How long a message may take to be taken, and then to be answered, whatever happens.
    pub(crate) patience: Duration,
    pub(crate) record: Arc<Record>,
}

impl Client {
    pub(crate) fn new(apis: Vec<String>, record: Arc<Record>, patience: Duration) -> Result<Self> {
        // A connection to a process that was killed is not used again for long.
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .pool_idle_timeout(Duration::from_secs(5))
            .read_timeout(SILENCE)
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            apis,
            patience,
            record,
        })
    }

    fn url(&self, api: usize, path: &str) -> String {
        let base = self
            .apis
            .get(api % self.apis.len().max(1))
            .map_or("", String::as_str);
        format!("{base}{path}")
    }

    /// A request for what is below a user's path, as `caller`.
    pub(crate) fn get(&self, whose: Uuid, caller: &User, api: usize, path: &str) -> RequestBuilder {
        self.http
            .get(self.url(api, &format!("/api/{whose}{path}")))
            .bearer_auth(&caller.token)
    }

    /// Whether the API is ready.
    pub(crate) async fn is_ready(&self, api: usize) -> bool {
        let asked = self
            .http
            .get(self.url(api, "/readyz"))
            .timeout(Duration::from_secs(2))
            .send()
            .await;
        asked.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Makes a user.
    pub(crate) async fn register(&self, number: usize) -> Result<User> {
        let body = json!({"email": format!("user-{number}@example.com"), "password": "correct horse battery staple",
            "name": format!("User {number}")});
        let answer = self
            .http
            .post(self.url(0, "/auth/register"))
            .json(&body)
            .send()
            .await?
            .error_for_status()?;
        let answer: Value = answer.json().await?;
        let text = |at: &str| {
            answer
                .pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok(User {
            id: text("/user/id").parse()?,
            token: text("/access_token"),
        })
    }

    /// Sends a message until its run is known. False if that took too long, which is a broken promise.
    pub(crate) async fn deliver(&self, user: &User, sent: &mut Sent, api: usize, manner: Manner) -> bool {
        let began = Instant::now();
        let mut api = api;
        if manner == Manner::Twins {
            let (mut one, mut other) = (sent.clone(), sent.clone());
            tokio::join!(
                self.try_once(user, &mut one, api, Manner::Async),
                self.try_once(user, &mut other, api + 1, Manner::Async)
            );
            for twin in [one, other] {
                if let Some(run) = twin.run {
                    self.promised(sent, run, twin.conversation);
                }
            }
        } else {
            self.try_once(user, sent, api, manner).await;
        }
        while sent.run.is_none() {
            if began.elapsed() > self.patience {
                self.record.broken("a message is taken in the end", &sent.text);
                return false;
            }
            sleep(PAUSE).await;
            api += 1;
            self.try_once(
                user,
                sent,
                api,
                if manner == Manner::Async {
                    manner
                } else {
                    Manner::Wait
                },
            )
            .await;
        }
        true
    }

    /// Sends a message through one API until it is answered, or `patience` is over.
    pub(crate) async fn insist(&self, user: &User, sent: &mut Sent, api: usize, patience: Duration) {
        let began = Instant::now();
        while sent.answer.is_none() && began.elapsed() < patience {
            self.try_once(user, sent, api, Manner::Wait).await;
            if sent.answer.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    /// One try; notes what it was told.
    async fn try_once(&self, user: &User, sent: &mut Sent, api: usize, manner: Manner) {
        let request = self
            .http
            .post(self.url(api, &format!("/api/{}/chat", user.id)))
            .bearer_auth(&user.token)
            .header("idempotency-key", &sent.key)
            .json(
                &json!({"message": sent.text, "conversation_id": sent.conversation_asked(),
                "agent": sent.agent.filter(|_| sent.place == 0)}),
            );
        let request = match manner {
            Manner::Wait => request
                .header("prefer", "wait=20")
                .timeout(Duration::from_secs(30)),
            Manner::HangUp(after) => request
                .header("prefer", "wait=20")
                .timeout(Duration::from_millis(after)),
            Manner::Async | Manner::Twins => request
                .header("prefer", "respond-async")
                .timeout(Duration::from_secs(15)),
            Manner::Events => {
                let request = request.header("accept", "text/event-stream");
                return self.try_events(user, sent, request).await;
            }
        };
        match self
            .ask(request, &sent.text, !matches!(manner, Manner::HangUp(_)))
            .await
        {
            Told::Ended(body) => {
                self.note(sent, &body);
                sent.answer = Some(body);
            }
            Told::Open(body) => self.note(sent, &body),
            Told::Nothing => {}
        }
    }

    /// One try whose answer is a stream.
    async fn try_events(&self, user: &User, sent: &mut Sent, request: RequestBuilder) {
        if let Ok(answer) = request.send().await
            && answer.status() == StatusCode::OK
        {
            self.read(user, sent, answer).await;
        }
    }

    /// Follows the run to its end. False if that took too long, which is a broken promise.
    pub(crate) async fn follow(&self, user: &User, sent: &mut Sent, api: usize) -> bool {
        let Some(run) = sent.run else { return false };
        let began = Instant::now();
        let mut api = api;
        while sent.answer.is_none() {
            if began.elapsed() > self.patience {
                self.record.broken("a run ends", run.to_string());
                return false;
            }
            let request = self
                .get(user.id, user, api, &format!("/runs/{run}?wait={LOOK}"))
                .timeout(Duration::from_secs(LOOK + 10));
            match self.ask(request, &run.to_string(), true).await {
                Told::Ended(body) => {
                    self.note(sent, &body);
                    sent.answer = Some(body);
                }
                Told::Open(body) => {
                    self.note(sent, &body);
                    let approvals = body.get("approvals").and_then(Value::as_array);
                    for call in approvals.into_iter().flatten() {
                        self.approve(user, run, call, api).await;
                    }
                }
                Told::Nothing => sleep(PAUSE).await,
            }
            api += 1;
        }
        true
    }

    /// Consents to a call that waits for it: asks until it is told that the call waits no more.
    pub(crate) async fn approve(&self, user: &User, run: Uuid, call: &Value, api: usize) {
        let id = call
            .get("tool_call_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let path = format!("/api/{}/runs/{run}/approvals/{id}", user.id);
        let began = Instant::now();
        for api in api.. {
            let request = self
                .http
                .post(self.url(api, &path))
                .bearer_auth(&user.token)
                .json(&json!({"approve": true}))
                .timeout(Duration::from_secs(15));
            match request.send().await.map(|answer| answer.status()) {
                // By itself, by an earlier try whose answer was lost, or because the run was cancelled.
                Ok(StatusCode::OK | StatusCode::ACCEPTED | StatusCode::CONFLICT) => return,
                Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(_) => {}
                Ok(status) => {
                    let detail = format!("{status} for the approval of {id} of {run}");
                    self.record
                        .broken("every answer is one of the contract's", detail);
                }
            }
            if began.elapsed() > self.patience {
                self.record
                    .broken("a user's consent is taken in the end", run.to_string());
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks for the run's end.
    pub(crate) async fn cancel(&self, user: &User, sent: &mut Sent, api: usize) {
        let Some(run) = sent.run else { return };
        sent.cancel_asked = true;
        let path = format!("/api/{}/runs/{run}/cancel", user.id);
        let request = self
            .http
            .post(self.url(api, &path))
            .bearer_auth(&user.token)
            .timeout(Duration::from_secs(15));
        // A 200 says that the run was final before.
        if let Told::Open(_) = self.ask(request, &run.to_string(), true).await {
            sent.cancel_accepted = true;
        }
    }

    /// Has a run that did not succeed tried again: asks until it is told yes or no, so that what follows is about the new
    /// try. Of a no it may be that an earlier yes was lost, or that the run is not its conversation's last.
    pub(crate) async fn retry(&self, user: &User, sent: &mut Sent, api: usize) {
        let Some(run) = sent.run else { return };
        let path = format!("/api/{}/runs/{run}/retry", user.id);
        let began = Instant::now();
        for api in api.. {
            let request = self
                .http
                .post(self.url(api, &path))
                .bearer_auth(&user.token)
                .timeout(Duration::from_secs(15));
            let status = request.send().await.map(|answer| answer.status());
            if matches!(status, Ok(StatusCode::ACCEPTED | StatusCode::CONFLICT))
                || began.elapsed() > self.patience
            {
                break;
            }
            sleep(PAUSE).await;
        }
        sent.answer = None;
        sent.cancel_accepted = false;
    }

    /// Looks at a run that is another user's: it must not be there.
    pub(crate) async fn pry(&self, user: &User, run: Uuid, owner: Uuid, api: usize) {
        for (whose, allowed) in [(user.id, StatusCode::NOT_FOUND), (owner, StatusCode::FORBIDDEN)] {
            let request = self
                .get(whose, user, api, &format!("/runs/{run}"))
                .timeout(Duration::from_secs(10));
            if let Ok(answer) = request.send().await {
                let status = answer.status();
                if status != allowed && status != StatusCode::SERVICE_UNAVAILABLE {
                    self.record.broken(
                        "nobody sees another's run",
                        format!("{run} by {}: {status}", user.id),
                    );
                }
            }
        }
    }

    async fn ask(&self, request: RequestBuilder, what: &str, patient: bool) -> Told {
        let id = Uuid::now_v7();
        let answer = match request.header("x-request-id", id.to_string()).send().await {
            Ok(answer) => answer,
            Err(error) => {
                self.unanswered(&error, id, patient);
                return Told::Nothing;
            }
        };
        let status = answer.status();
        let Ok(body) = answer.json::<Value>().await else {
            return Told::Nothing;
        };
        let state = body.get("status").and_then(Value::as_str);
        match (status, state) {
            (StatusCode::OK, Some("succeeded" | "failed" | "cancelled"))
            | (StatusCode::BAD_GATEWAY, Some("failed"))
            | (StatusCode::CONFLICT, Some("cancelled")) => Told::Ended(body),
            (StatusCode::ACCEPTED, _) => Told::Open(body),
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => Told::Nothing,
            _ => {
                self.record.broken(
                    "every answer is one of the contract's",
                    format!("{status} for {what}: {body}"),
                );
                Told::Nothing
            }
        }
    }

    /// A process that is killed breaks its connections; one that lives answers. Every request's time is longer than what
    /// it asks for and what Postgres may take.
    fn unanswered(&self, error: &reqwest::Error, id: Uuid, patient: bool) {
        if patient && error.is_timeout() && !error.is_connect() {
            let url = error.url().map_or("", reqwest::Url::as_str);
            self.record.broken(
                "a request is answered, or its connection breaks",
                format!("request {id}: {url}"),
            );
        }
    }

    /// Notes the run and conversation that an answer names.
    pub(crate) fn note(&self, sent: &mut Sent, body: &Value) {
        let id = |name: &str| {
            body.get(name)
                .and_then(Value::as_str)
                .and_then(|id| id.parse().ok())
        };
        if let Some(run) = id("run_id") {
            self.promised(sent, run, id("conversation_id"));
        }
    }

    fn promised(&self, sent: &mut Sent, run: Uuid, conversation: Option<Uuid>) {
        if sent.run.is_some_and(|before| before != run) {
            self.record.broken(
                "one key, one run",
                format!("{} has {run} beside {:?}", sent.key, sent.run),
            );
        }
        if sent.conversation.is_some() && conversation != sent.conversation {
            self.record
                .broken("a run stays in its conversation", run.to_string());
        }
        sent.run.get_or_insert(run);
        sent.conversation = sent.conversation.or(conversation);
    }
}

impl Sent {
    /// The conversation that the message names: none if it is the first of its own.
    fn conversation_asked(&self) -> Option<Uuid> {
        if self.place == 0 { None } else { self.conversation }
    }
}
